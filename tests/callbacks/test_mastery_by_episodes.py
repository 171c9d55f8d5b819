"""Levels that open when the episodes played while training fail fewer of the sub-tasks that are open so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.agents.prompts import PROMPT_VERSION
from prost_lightning.appworld.data import world_name
from prost_lightning.callbacks import appworld_eval
from prost_lightning.callbacks.appworld_eval import AppWorldEval
from prost_lightning.callbacks.subtask_curriculum import SubtaskCurriculum
from prost_lightning.curriculum import Mastery
from prost_lightning.datamodules.subtask_datamodule import SubtaskDataModule
from prost_lightning.trajectory import CheckedSubTask, Outcome, Trajectory, write_trajectories

# Sub-tasks done, of three, after so many epochs: the first one soon, the last one never.
DONE_AFTER = (0, 0, 1, 1, 2, 2, 2)


class Engine:
    """Stands for the engine: how many sub-tasks an episode gets done is known beforehand, by the evaluation's label."""

    def __init__(self, root: Path, *_: object) -> None:
        self.world = world_name(root)

    def close(self) -> None: ...

    def play(
        self, task_ids: list[str], *, split: str, critic: bool, limits: Any, experiment: str, on_end: Any, **_: Any
    ) -> list[Trajectory]:
        epoch = int(experiment.removeprefix("epoch-"))
        checked = [
            CheckedSubTask(position, "other", [], passed=position <= DONE_AFTER[epoch]) for position in (1, 2, 3)
        ]
        episodes = [
            Trajectory(
                task_id=task_id,
                world=self.world,
                split=split,
                agents="team",
                policy="oracle",
                seed=0,
                instruction="",
                sub_tasks=[],
                conversations=[],
                steps=[],
                outcome=Outcome(False, "completed", sub_tasks=checked),
                metadata={"critic": critic, "limits": asdict(limits), "prompt_version": PROMPT_VERSION},
            )
            for task_id in task_ids
        ]
        for episode in episodes:
            on_end(episode)
        return episodes


class Model(LightningModule):
    """Notes the epoch and the stage of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches: list[tuple[int, int]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.batches.append((self.trainer.current_epoch, self.trainer.datamodule.stage))  # type: ignore[attr-defined]
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_the_next_level_opens_when_the_open_sub_tasks_are_done(
    make_trajectory: Callable[..., Trajectory],
    mini_world: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also in a run that is resumed from a checkpoint of an epoch's last batch, before its evaluation."""
    monkeypatch.setattr(appworld_eval, "Arena", Engine)
    write_trajectories(tmp_path / "trajectories.jsonl", [make_trajectory(3, task_id=f"000000{i}_1") for i in (1, 2)])

    def fit(directory: Path, checkpoint: Path | None = None) -> tuple[Model, AppWorldEval]:
        model = Model()
        evaluation = AppWorldEval(
            mini_world,
            n_tasks=2,
            every_n_epochs=1,
            at_start=False,
            at_end=False,
            policy=OraclePolicy(mini_world),
            progress=False,
        )
        every_batch = ModelCheckpoint(directory, every_n_train_steps=1, save_top_k=-1, filename="{step}")
        data = SubtaskDataModule(
            tmp_path / "trajectories.jsonl",
            base_model=tiny_model,
            val_share=0.0,
            cache_dir=tmp_path / "tokens",
            growth=Mastery("eval/active_sub_task_error_rate", threshold=0.0, patience=None),
        )
        trainer = Trainer(
            accelerator="cpu",
            callbacks=[evaluation, SubtaskCurriculum(), every_batch],
            default_root_dir=directory,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
            max_epochs=6,
            reload_dataloaders_every_n_epochs=1,
        )
        trainer.fit(model, data, ckpt_path=checkpoint)
        return model, evaluation

    undisturbed, evaluation = fit(tmp_path / "undisturbed")
    # The first sub-task is done after two epochs, the second after four; of all sub-tasks a third still fails.
    assert dict(undisturbed.batches) == {0: 1, 1: 1, 2: 2, 3: 2, 4: 3, 5: 3}
    rates = [result["active_sub_task_error_rate"] for result in evaluation.results]
    assert rates == pytest.approx([1, 0, 1 / 2, 0, 1 / 3, 1 / 3])
    assert evaluation.results[1]["sub_task_error_rate"] == pytest.approx(2 / 3)

    epochs = [epoch for epoch, _ in undisturbed.batches]
    for ended in (2, 4):
        step = epochs.index(ended)
        resumed, _ = fit(tmp_path / f"resumed{ended}", tmp_path / "undisturbed" / f"step={step}.ckpt")
        assert resumed.batches == undisturbed.batches[step:]
