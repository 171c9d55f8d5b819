"""Commands that show what is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prost_lightning.errors import UserError
from prost_lightning.trajectory import Role

if TYPE_CHECKING:
    from prost_lightning.datamodules import SubtaskDataModule


def data_show(
    config: list[Path] | Path | None = None,
    trajectories: Path | None = None,
    base_model: str | None = None,
    stage: int | None = None,
    role: Role | None = None,
    task: str | None = None,
    n: int = 1,
) -> None:
    """Shows samples of the training data as they are trained on: trained tokens coloured, sub-tasks marked.

    Args:
        config: Config file of a `fit` run, whose data section is shown; several as `[FIRST, SECOND]`.
        trajectories: Trajectory file, where no config names it.
        base_model: Model whose tokenizer is used, where no config names it.
        stage: Stage of the curriculum, from 1; by default the last one.
        role: Show samples of this role only.
        task: Show samples of this task only.
        n: How many samples.
    """
    from rich.console import Console

    from prost_lightning.datamodules.inspection import legend, sample
    from prost_lightning.modules.qlora import load_tokenizer
    from prost_lightning.trajectory import ROLES

    data = _load(config, trajectories, base_model)
    sampler, corpus = data.sampler, data.corpus
    table = sampler.table
    stage = sampler.n_stages if stage is None else stage
    if not 1 <= stage <= sampler.n_stages:
        raise UserError(f"--stage is {stage}, but the curriculum has {sampler.n_stages}; choose 1 to that.")
    lengths, _ = table.per_sequence(sampler.visible_items(stage=stage, epoch=0))
    chosen = [
        sequence
        for sequence in range(len(table))
        if lengths[sequence]
        and role in (None, ROLES[table.role[sequence]])
        and task in (None, corpus.task_ids[int(table.trajectory[sequence])])
    ]
    if not chosen:
        raise UserError(f"no sample of role {role or 'any'} and task {task or 'any'} at stage {stage}; choose others.")
    console = Console()
    console.print(legend())
    tokenizer = load_tokenizer(data.base_model)
    for sequence in chosen[:n]:
        console.rule()
        console.print(sample(corpus, sampler, sequence, tokenizer, stage=stage))


def data_stats(
    config: list[Path] | Path | None = None, trajectories: Path | None = None, base_model: str | None = None
) -> None:
    """Counts what is trained on: tokens by role, position and stage, fill of the batches, dropped turns.

    Args:
        config: Config file of a `fit` run, whose data section is shown; several as `[FIRST, SECOND]`.
        trajectories: Trajectory file, where no config names it.
        base_model: Model whose tokenizer is used, where no config names it.
    """
    from rich.console import Console

    from prost_lightning.datamodules.inspection import position_table, stage_table

    data = _load(config, trajectories, base_model)
    console = Console()
    console.print(stage_table(data.sampler, data.tokens_per_batch))
    console.print(position_table(data.sampler))


def _load(config: list[Path] | Path | None, trajectories: Path | None, base_model: str | None) -> SubtaskDataModule:
    """Sets up the data module of a run, without its trainer."""
    import jsonargparse
    from omegaconf import OmegaConf

    from prost_lightning.datamodules import SubtaskDataModule

    files = [config] if isinstance(config, Path) else config or []
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{missing[0]}: no such config file; name one that `fit` takes.")
    merged: Any = OmegaConf.to_container(OmegaConf.merge({}, *map(OmegaConf.load, files)), resolve=True)
    settings: dict[str, Any] = dict(merged.get("data", {}))
    # What `fit` links: see ProstCLI.
    settings |= {key: value for key, value in merged.get("model", {}).items() if key in ("base_model", "roles")}
    if trajectories is not None:
        settings |= {"trajectories": str(trajectories), "prepare": None}
    if base_model is not None:
        settings["base_model"] = base_model
    if "trajectories" not in settings:
        raise UserError("name the data: --config with the config file of a run, or --trajectories with a file.")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SubtaskDataModule, "data")
    data: SubtaskDataModule = parser.instantiate_classes(parser.parse_object({"data": settings}))["data"]
    data.prepare_data()
    data.setup("fit")
    return data
