from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader
from transformers import BatchEncoding

from prost_lightning.callbacks import EfficiencyMonitor


class CountingModule(LightningModule):
    """Somebody else's module over token batches, with a FLOPs estimate of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        return (self.weight - batch["input_ids"].float().mean()) ** 2

    def training_flops(self, batch: dict[str, torch.Tensor]) -> float:
        return 10.0 * batch["input_ids"].numel()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def batches() -> DataLoader[Any]:
    input_ids = torch.arange(12).reshape(3, 4)
    labels = torch.where(input_ids % 2 == 0, input_ids, -100)
    rows = [{"input_ids": row, "labels": label} for row, label in zip(input_ids, labels, strict=True)]
    return DataLoader(rows, batch_size=1)  # type: ignore[arg-type]


def test_it_counts_what_each_epoch_processed(tmp_path: Path) -> None:
    monitor = EfficiencyMonitor()
    trainer = Trainer(
        max_epochs=2,
        callbacks=[monitor],
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(CountingModule(), batches())
    assert [epoch["epoch"] for epoch in monitor.epochs] == [0, 1]
    for epoch in monitor.epochs:
        assert epoch["trained_tokens"] == 12
        assert epoch["supervised_tokens"] == 6
        assert epoch["train_flops"] == 120.0
        assert epoch["tokens_per_second"] > 0
    assert trainer.logged_metrics["efficiency/trained_tokens"] == 12


def test_foreign_batches_and_an_epoch_whose_end_was_never_seen_count(tmp_path: Path) -> None:
    module, monitor = CountingModule(), EfficiencyMonitor()
    trainer = Trainer(logger=False, default_root_dir=tmp_path, accelerator="cpu", max_epochs=3)
    batch = BatchEncoding({"input_ids": torch.ones(2, 5, dtype=torch.long)})
    for epoch in range(2):  # no `on_train_epoch_end`, as when a run resumes from a checkpoint of the last batch
        trainer.fit_loop.epoch_progress.current.completed = epoch
        trainer.fit_loop.epoch_progress.current.processed = epoch
        monitor.on_train_epoch_start(trainer, module)
        monitor.on_train_batch_start(trainer, module, batch, 0)
        monitor.on_train_batch_end(trainer, module, None, batch, 0)
    monitor.on_train_end(trainer, module)
    assert [(epoch["epoch"], epoch["trained_tokens"]) for epoch in monitor.epochs] == [(0, 10), (1, 10)]


def test_its_state_survives_a_round_trip() -> None:
    monitor = EfficiencyMonitor()
    monitor.epochs = [{"epoch": 0, "trained_tokens": 5}]
    restored = EfficiencyMonitor()
    restored.load_state_dict(monitor.state_dict())
    assert restored.epochs == monitor.epochs
