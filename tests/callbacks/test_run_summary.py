from __future__ import annotations

import json
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from prost_lightning.callbacks import EfficiencyMonitor, RunSummary


def fit(directory: Path, **settings) -> None:
    Trainer(
        accelerator="cpu",
        callbacks=[EfficiencyMonitor(), RunSummary()],
        default_root_dir=directory,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        limit_train_batches=2,
        limit_val_batches=0,
        logger=False,
        max_epochs=2,
        **settings,
    ).fit(BoringModel())


def test_a_foreign_run_is_summed_up_and_an_earlier_one_set_aside(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("an earlier run's")
    fit(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [stage["epoch"] for stage in summary["stages"]] == [0, 1]
    assert summary["code_version"]
    assert summary["wall_seconds"] > 0
    assert (tmp_path / "summary.1.json").read_text() == "an earlier run's"
