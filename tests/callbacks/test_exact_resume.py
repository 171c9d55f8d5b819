"""A run that is killed and resumed is the same run: same items in the same order, bit-identical weights.

Run as a script, this file is the process that gets killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint

import prost_lightning
from prost_lightning.callbacks.exact_resume import ExactResume
from prost_lightning.callbacks.subtask_curriculum import SubtaskCurriculum
from prost_lightning.datamodules.subtask_datamodule import SubtaskDataModule
from prost_lightning.errors import UserError
from prost_lightning.modules.qlora import LoraSettings
from prost_lightning.modules.role_module import RoleModule
from prost_lightning.trajectory import Trajectory, write_trajectories

Step = tuple[int, int, int, tuple[tuple[int, str, int], ...]]
"""Epoch, batch index, batches in the epoch, items."""


class Learner(LightningModule):
    """Small enough to train in no time, with all that could differ: momentum, a schedule, dropout."""

    def __init__(self, kill_at: int | None = None) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(49152, 8)
        self.dropout = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(8, 1)
        self.kill_at = kill_at
        self.steps: list[Step] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        trainer = self.trainer
        items = tuple(tuple(item) for item in batch["items"])
        self.steps.append((trainer.current_epoch, batch_idx, int(trainer.num_training_batches), items))  # type: ignore[arg-type]
        if len(self.steps) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.head(self.dropout(self.embedding(batch["input_ids"]))).square().mean() + self.head.bias.sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("loss", self.head(self.embedding(batch["input_ids"])).mean(), batch_size=1)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        steps = self.trainer.datamodule.total_optimizer_steps()  # type: ignore[attr-defined]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def fit(
    data_dir: Path,
    run_dir: Path,
    *,
    accumulate: int,
    callbacks: list[Callback] | None = None,
    checkpoint: Path | None = None,
    make_learner: Callable[[], LightningModule] = Learner,
    validate: bool = False,
) -> Any:
    """Trains for three stages of one epoch each; returns the module."""
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    learner = make_learner()
    data = SubtaskDataModule(
        data_dir / "trajectories.jsonl", base_model=data_dir / "model", tokens_per_batch=200, val_share=0.5 * validate
    )
    trainer = Trainer(
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        callbacks=[SubtaskCurriculum(), ExactResume(), *(callbacks or [])],
        default_root_dir=run_dir,
        enable_checkpointing=bool(callbacks),
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=3,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(learner, data, ckpt_path=checkpoint)
    assert trainer.global_step == data.total_optimizer_steps()
    return learner


@pytest.fixture(scope="module")
def data_dir(
    make_trajectory: Callable[..., Trajectory], tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("data")
    (directory / "model").symlink_to(tiny_model)
    lengths = (1, 2, 3, 3, 3)
    write_trajectories(
        directory / "trajectories.jsonl",
        [make_trajectory(n, task_id=f"{i % 2:07x}_{i}", words=3 * n) for i, n in enumerate(lengths)],
    )
    return directory


def assert_same(resumed: Any, undisturbed: Any, batches_done: int) -> None:
    assert resumed.steps == undisturbed.steps[batches_done:]
    for (name, ours), (_, theirs) in zip(resumed.named_parameters(), undisturbed.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


class SaveEveryBatch(Callback):
    """Writes a checkpoint after each batch, unlike ModelCheckpoint also between two optimiser steps."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.batches = 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.batches += 1
        trainer.save_checkpoint(self.directory / f"{self.batches}.ckpt")


@pytest.mark.parametrize("accumulate", [1, 3])
def test_resumed_from_any_batch(data_dir: Path, tmp_path: Path, accumulate: int) -> None:
    """Also in the middle of an accumulation, and after the last batch of an epoch."""
    undisturbed = fit(data_dir, tmp_path, accumulate=accumulate, callbacks=[SaveEveryBatch(tmp_path)])
    first, second, third = {step[0]: step[2] for step in undisturbed.steps}.values()
    assert first < second < third
    for done in (2, first, first + 1, first + second):
        resumed = fit(data_dir, tmp_path, accumulate=accumulate, checkpoint=tmp_path / f"{done}.ckpt")
        assert_same(resumed, undisturbed, done)


@pytest.mark.parametrize("save_on_train_epoch_end", [True, False])
def test_resumed_after_validation_and_at_an_epochs_end(
    data_dir: Path, tmp_path: Path, save_on_train_epoch_end: bool
) -> None:
    checkpoints = ModelCheckpoint(
        tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=save_on_train_epoch_end
    )
    undisturbed = fit(data_dir, tmp_path, accumulate=1, callbacks=[checkpoints], validate=True)
    for epoch in (0, 1):
        checkpoint = tmp_path / f"epoch={epoch}.ckpt"
        resumed = fit(data_dir, tmp_path, accumulate=1, checkpoint=checkpoint, validate=True)
        assert_same(resumed, undisturbed, sum(step[0] <= epoch for step in undisturbed.steps))


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_and_resumed(data_dir: Path, tmp_path: Path) -> None:
    undisturbed = fit(data_dir, tmp_path, accumulate=2)
    in_the_second_epoch = next(index for index, step in enumerate(undisturbed.steps) if step[:2] == (1, 6))

    command = [sys.executable, __file__, str(data_dir), str(tmp_path), str(in_the_second_epoch + 1)]
    environment = {**os.environ, "PYTHONPATH": str(Path(prost_lightning.__file__).parents[1])}
    killed = subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    checkpoint = tmp_path / "last.ckpt"
    done = torch.load(checkpoint)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"]
    assert in_the_second_epoch - 4 <= done <= in_the_second_epoch
    resumed = fit(data_dir, tmp_path, accumulate=2, checkpoint=checkpoint)
    assert_same(resumed, undisturbed, done)


class RecordingRoleModule(RoleModule):
    """The project's own module, on a minute base."""

    def __init__(self, base: Path) -> None:
        super().__init__(str(base), quantization="none", lora=LoraSettings(r=2, alpha=4, dropout=0.2), lr=1e-2)
        self.steps: list[Any] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.steps.append((batch_idx, batch["items"]))
        return super().training_step(batch, batch_idx)


def test_the_projects_own_module_resumes_exactly(data_dir: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Adapters alone are in the checkpoint, three of them, with their optimiser states and dropout."""

    def run(**arguments: Any) -> Any:
        return fit(data_dir, tmp_path, accumulate=2, make_learner=partial(RecordingRoleModule, tiny_model), **arguments)

    undisturbed = run(callbacks=[SaveEveryBatch(tmp_path)])
    done = len(undisturbed.steps) // 2 | 1  # odd: between two optimiser steps
    assert_same(run(checkpoint=tmp_path / f"{done}.ckpt"), undisturbed, done)


def test_a_step_that_fails_is_done_again(data_dir: Path, tmp_path: Path) -> None:
    """Ctrl-C between fetching a batch and training on it loses nothing."""

    class Interrupt(OnExceptionCheckpoint):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 3:
                raise KeyboardInterrupt

    undisturbed = fit(data_dir, tmp_path, accumulate=1)
    with pytest.raises(SystemExit):
        fit(data_dir, tmp_path, accumulate=1, callbacks=[Interrupt(tmp_path, "interrupted")])
    resumed = fit(data_dir, tmp_path, accumulate=1, checkpoint=tmp_path / "interrupted.ckpt")
    assert_same(resumed, undisturbed, 3)


def test_a_checkpoint_of_other_data_is_refused(
    make_trajectory: Callable[..., Trajectory], data_dir: Path, tiny_model: Path, tmp_path: Path
) -> None:
    fit(data_dir, tmp_path, accumulate=1, callbacks=[ModelCheckpoint(tmp_path, filename="end")])
    (tmp_path / "model").symlink_to(tiny_model)
    write_trajectories(tmp_path / "trajectories.jsonl", [make_trajectory(2)])
    with pytest.raises(UserError, match="made with other trajectories"):
        fit(tmp_path, tmp_path, accumulate=1, checkpoint=tmp_path / "end.ckpt")


if __name__ == "__main__":
    fit(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        accumulate=2,
        callbacks=[ModelCheckpoint(sys.argv[2], filename="last", every_n_train_steps=1, enable_version_counter=False)],
        make_learner=partial(Learner, kill_at=int(sys.argv[3])),
    )
