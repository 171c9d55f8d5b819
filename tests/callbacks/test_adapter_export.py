"""Adapters are left behind whatever way training ends, and whatever W&B says."""

from __future__ import annotations

from pathlib import Path

import pytest
import wandb
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import WandbLogger

from prost_lightning.callbacks import AdapterExport
from prost_lightning.errors import UserError


class Exporter(BoringModel):
    """Somebody else's module that can export."""

    def export_adapters(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "weights.txt").write_text(str(self.layer.weight.sum().item()))


def trainer_of(directory: Path, *callbacks, **settings) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=[AdapterExport(), *callbacks],
        default_root_dir=directory,
        enable_model_summary=False,
        enable_progress_bar=False,
        limit_train_batches=2,
        limit_val_batches=0,
        max_epochs=1,
        **{"logger": False, "enable_checkpointing": bool(callbacks)} | settings,
    )


def test_a_resumed_run_with_nothing_left_to_train_exports_too(tmp_path: Path) -> None:
    trainer_of(tmp_path, ModelCheckpoint(tmp_path, every_n_epochs=1, save_last=True)).fit(Exporter())
    exported = tmp_path / "adapters" / "weights.txt"
    written = exported.read_text()
    exported.unlink()
    trainer_of(tmp_path).fit(Exporter(), ckpt_path=tmp_path / "last.ckpt")
    assert exported.read_text() == written


def test_a_wandb_that_cannot_take_them_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr(wandb.Artifact, "add_dir", full)
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    with pytest.warns(UserWarning, match="W&B did not take the adapters, which are in .*No space left"):
        trainer_of(tmp_path, logger=logger).fit(Exporter())
    wandb.finish()
    assert (tmp_path / "adapters" / "weights.txt").is_file()


def test_a_module_that_cannot_export_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"BoringModel has no export_adapters\(directory\)"):
        trainer_of(tmp_path).fit(BoringModel())
