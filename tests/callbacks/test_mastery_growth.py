"""Growth by a metric, in somebody else's project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import RandomDataset
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, Subset

from prost_lightning.callbacks.subtask_curriculum import SubtaskCurriculum
from prost_lightning.curriculum import Mastery
from prost_lightning.errors import UserError


class Data(LightningDataModule):
    """Somebody's data, which grow in three stages."""

    n_stages = 3
    stage = 1

    def set_stage(self, stage: int) -> None:
        self.stage = stage

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(Subset(RandomDataset(32, 100), range(2 * self.stage)))

    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(RandomDataset(32, 1))


class Model(LightningModule):
    """Its validation loss after each epoch is known beforehand; it notes epoch and stage of each batch."""

    def __init__(self, losses: list[float], *, when: str = "validation") -> None:
        super().__init__()
        self.layer = torch.nn.Linear(32, 1)
        self.losses = losses
        self.when = when
        self.batches: list[tuple[int, int]] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.batches.append((self.trainer.current_epoch, self.trainer.datamodule.stage))  # type: ignore[attr-defined]
        if self.when == "training":
            self.log("error", self.losses[self.trainer.current_epoch], on_epoch=True, on_step=False)
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        if self.when == "validation":
            # By steps and not by epochs: what a resumed run measures is what its weights make of it.
            done = self.trainer.global_step // 2
            self.log("error", self.losses[min(done, len(self.losses) - 1)])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    @property
    def stages(self) -> list[int]:
        """The stage of each epoch."""
        return list(dict(self.batches).values())


def trainer(tmp_path: Path, rule: Mastery, *callbacks: Callback, **arguments: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "default_root_dir": tmp_path,
        "enable_checkpointing": bool(callbacks),
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "logger": False,
        "max_epochs": 6,
        "num_sanity_val_steps": 0,
        "reload_dataloaders_every_n_epochs": 1,
    }
    return Trainer(callbacks=[SubtaskCurriculum(rule), *callbacks], **(defaults | arguments))


@pytest.mark.parametrize("when", ["validation", "training"])
def test_the_next_level_opens_when_the_threshold_is_reached(tmp_path: Path, when: str) -> None:
    # By validation the figures are those after 1, 2, 4, ... pairs of steps, by training those of each epoch.
    losses = [1.0, 0.9, 0.4, 0.3, 0.3] if when == "validation" else [0.9, 0.4, 0.3, 0.3, 0.3, 0.3]
    model = Model(losses, when=when)
    trainer(tmp_path, Mastery("error", threshold=0.5, patience=None)).fit(model, Data())
    assert model.stages == [1, 1, 2, 3, 3, 3]


def test_why_it_grew_is_in_the_logs(tmp_path: Path, lightning_log: Callable[[], list[str]]) -> None:
    model = Model([0.9, 0.4, 0.5, 0.6, 0.7, 0.7], when="training")
    rule = Mastery("error", threshold=0.45, patience=2, max_epochs=3)
    trainer(tmp_path, rule, logger=CSVLogger(tmp_path, name="", version="")).fit(model, Data())
    assert model.stages == [1, 1, 2, 2, 2, 3]
    header, *rows = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    logged = [dict(zip(header, row, strict=True)) for row in rows]
    logged = [row for row in logged if row["curriculum/stage"]]

    def column(name: str) -> list[float]:
        return [float(row[f"curriculum/{name}"]) for row in logged]

    assert column("stage") == model.stages
    assert column("reason") == [0, 1, 0, 0, 2, 0]
    assert column("epochs_at_stage") == [1, 2, 1, 2, 3, 1]
    assert column("measured") == pytest.approx([0.9, 0.4, 0.5, 0.6, 0.7, 0.7])
    said = [message for message in lightning_log() if "curriculum stage" in message]
    assert said == [
        "Epoch 0: curriculum stage 1 of 3",
        "Epoch 1: curriculum stage 1 of 3 (error 0.9, not mastered yet)",
        "Epoch 2: curriculum stage 2 of 3 (error 0.4 reached the threshold 0.45)",
        "Epoch 3: curriculum stage 2 of 3 (error 0.5, not mastered yet)",
        "Epoch 4: curriculum stage 2 of 3 (error 0.6, not mastered yet)",
        "Epoch 5: curriculum stage 3 of 3 (error 0.7 has not improved for 2 measurements)",
    ]


def test_a_value_that_was_not_logged_anew_is_no_measurement(tmp_path: Path) -> None:
    """Validation every other epoch: the value that Lightning keeps in between counts once."""
    model = Model([0.9] * 20)
    rule = Mastery("error", patience=2, min_epochs=2)
    trainer(tmp_path, rule, max_epochs=8, check_val_every_n_epoch=2).fit(model, Data())
    # Three measurements, the last two without an improvement, take six epochs.
    assert model.stages == [1] * 6 + [2, 2]


@pytest.mark.parametrize("checkpoint_at", ["batch", "validation", "epoch"])
@pytest.mark.parametrize("losses", [[1, 0.9, 0.4, 0.3], [0.9, 0.8, 0.8, 0.8, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5]])
def test_a_resumed_run_grows_as_the_undisturbed_one(tmp_path: Path, checkpoint_at: str, losses: list[float]) -> None:
    """Also from a checkpoint between an epoch's last batch and its validation, or between that and the epoch's end."""
    rule = Mastery("error", threshold=0.5, patience=2, max_epochs=4)
    when: dict[str, Any] = {
        "batch": {"every_n_train_steps": 1},
        "validation": {"save_on_train_epoch_end": False},
        "epoch": {"save_on_train_epoch_end": True},
    }[checkpoint_at]
    checkpoints = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, **when)
    undisturbed = Model(losses)
    trainer(tmp_path, rule, checkpoints).fit(undisturbed, Data())
    assert undisturbed.stages[-1] > 1
    saved = sorted(int(path.stem.removeprefix("step=")) for path in tmp_path.glob("*.ckpt"))
    for step in saved[:-1]:
        resumed = Model(losses)
        trainer(tmp_path, rule).fit(resumed, Data(), ckpt_path=str(tmp_path / f"step={step}.ckpt"))
        assert resumed.batches == undisturbed.batches[step:], step


def test_a_metric_that_nobody_logs_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"monitor is val/loss, but that was not logged .* \(logged: .*error"):
        trainer(tmp_path, Mastery("val/loss")).fit(Model([1.0]), Data())


def test_levels_that_never_opened_are_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Training ended at stage 1 of 3"):
        trainer(tmp_path, Mastery("error", threshold=0.1, patience=None)).fit(Model([1.0]), Data())
