from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.demos.boring_classes import BoringModel

from prost_lightning.callbacks.item_losses import ItemLosses
from prost_lightning.callbacks.subtask_curriculum import SubtaskCurriculum
from prost_lightning.curriculum import Mastery
from prost_lightning.curriculum.losses import read_item_losses
from prost_lightning.datamodules.subtask_datamodule import SubtaskDataModule
from prost_lightning.errors import UserError
from prost_lightning.modules.qlora import LoraSettings
from prost_lightning.modules.role_module import RoleModule
from prost_lightning.trajectory import Trajectory, write_trajectories


@pytest.fixture(scope="module")
def trajectories(make_trajectory: Callable[..., Trajectory], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "trajectories.jsonl"
    write_trajectories(file, [make_trajectory(n, task_id=f"{i:07x}_1") for i, n in enumerate((2, 1, 3))])
    return file


def trainer_of(directory: Path, *callbacks: Any, **settings: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        default_root_dir=directory,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        **settings,
    )


def module_of(base: Path, **settings: Any) -> RoleModule:
    seed_everything(0, verbose=False)
    return RoleModule(str(base), quantization="none", lora=LoraSettings(r=2, alpha=4), **settings)


def test_its_file_orders_the_next_run(trajectories: Path, tiny_model: Path, tmp_path: Path) -> None:
    data = SubtaskDataModule(trajectories, base_model=tiny_model, curriculum="standard", val_share=0.0)
    module = module_of(tiny_model)
    trainer_of(tmp_path, ItemLosses(), max_epochs=1).fit(module, data)
    table = data.sampler.table
    losses = read_item_losses(tmp_path / "item_losses.jsonl", table.items)

    # One item alone, not packed with others.
    critic = next(index for index in range(len(table.items)) if table.items[index] == (2, "critic", 3))
    turn = int((table.turn_item == critic).argmax())
    sequence = int((table.turn_offset <= turn).sum()) - 1
    ids = torch.tensor(data.corpus[int(table.row[sequence])][: table.turn_end[turn]], dtype=torch.int64)[None]
    labels = torch.full_like(ids, -100)
    labels[0, table.turn_start[turn] :] = ids[0, table.turn_start[turn] :]
    positions = torch.arange(ids.shape[1])[None]
    module.eval()
    with torch.no_grad():
        total, n = module.loss({"role": "critic", "input_ids": ids, "position_ids": positions, "labels": labels})
    assert losses[critic] == pytest.approx(float(total) / n, rel=1e-2)  # the base computes in bfloat16

    path = tmp_path / "item_losses.jsonl"
    ordered = SubtaskDataModule(
        trajectories, base_model=tiny_model, curriculum="loss", n_stages=2, losses=path, val_share=0.0
    )
    ordered.setup("fit")
    levels = ordered.sampler.levels
    for code in range(3):
        of_role = table.items.role == code
        assert losses[of_role & (levels == 1)].max() <= losses[of_role & (levels == 2)].min()


def test_untrained_it_measures_the_base(trajectories: Path, tiny_model: Path, tmp_path: Path) -> None:
    data = SubtaskDataModule(trajectories, base_model=tiny_model, curriculum="standard", val_share=0.0)
    trainer_of(tmp_path, ItemLosses(tmp_path / "base.jsonl"), max_epochs=0).fit(module_of(tiny_model), data)
    assert len(read_item_losses(tmp_path / "base.jsonl", data.sampler.table.items)) == 18


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not BoringModel and NoneType"):
        trainer_of(tmp_path, ItemLosses(), max_epochs=1).fit(BoringModel())


def test_mastery_goes_by_the_held_out_loss_of_the_active_pool(
    trajectories: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Growth waits for ``val/active_loss``, which is that of the open held-out items, in one pass with ``val/loss``."""
    data = SubtaskDataModule(
        trajectories,
        base_model=tiny_model,
        val_share=0.4,
        roles=["executor"],
        growth=Mastery("val/active_loss", patience=1, max_epochs=1),
        seed=1,
    )
    measured: list[tuple[int, float, float, float]] = []

    class Watched(RoleModule):
        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            metrics = self.trainer.callback_metrics
            expected = torch.zeros(2)
            for batch in data.val_dataloader():
                hidden = {**batch, "labels": batch["labels"].masked_fill(~batch["active"], -100)}
                total, n = self.loss(hidden)
                expected += torch.tensor([float(total), n])
                positions = {item.position for item in batch["items"]}
                assert max(positions) > data.stage or bool(batch["active"][batch["labels"] != -100].all())
            active = float(expected[0] / expected[1])
            measured.append((data.stage, float(metrics["val/active_loss"]), active, float(metrics["val/loss"])))

    seed_everything(0, verbose=False)
    module = Watched(str(tiny_model), roles=["executor"], quantization="none", lora=LoraSettings(r=2, alpha=4))
    trainer_of(tmp_path, SubtaskCurriculum(), max_epochs=2).fit(module, data)
    assert [stage for stage, *_ in measured] == [1, 2]
    for stage, active, expected, everything in measured:
        assert active == pytest.approx(expected, rel=1e-3)
        if stage == 1:
            assert active != everything
