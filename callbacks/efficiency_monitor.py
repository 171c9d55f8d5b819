"""What training costs: tokens, floating-point operations, seconds and memory, epoch by epoch."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

IGNORED = -100


class EfficiencyMonitor(Callback):
    """Counts what each training epoch processed and logs it at the epoch's end.

    Logged as ``efficiency/trained_tokens`` (every token that went through the model), ``efficiency/supervised_tokens``
    (those with a label), ``efficiency/train_flops`` (if the module offers ``training_flops(batch) -> float``),
    ``efficiency/train_seconds``, ``efficiency/tokens_per_second`` and ``efficiency/peak_memory_gib``: on a GPU the
    epoch's peak of CUDA memory, else the largest resident set that the process ever had. Time spent in validation and
    in evaluation callbacks does not count. Of several processes, tokens and operations are those of all, seconds and
    memory those of the first.

    It works with any module whose batches are mappings with ``input_ids`` and, optionally, ``labels`` (both ``(B,
    T)``); other batches count no tokens.

    Attributes:
        epochs: One dictionary of the figures above for every finished epoch, with its ``epoch`` number.

    Example:
        >>> trainer = Trainer(callbacks=[EfficiencyMonitor()])  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self._current: dict[str, float] = {}
        self._batch_start = 0.0

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._current and self._current["epoch"] != trainer.current_epoch:
            # Resumed from a checkpoint of that epoch's last batch, its end was never seen.
            self._finish_epoch(pl_module)
        # A resumed epoch goes on counting from its checkpoint; a new one starts at zero.
        if not self._current:
            self._current = {
                "epoch": trainer.current_epoch,
                "trained_tokens": 0,
                "supervised_tokens": 0,
                "train_flops": 0.0,
                "train_seconds": 0.0,
            }
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._batch_start = time.perf_counter()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        current = self._current
        current["train_seconds"] += time.perf_counter() - self._batch_start
        trained = supervised = 0
        if isinstance(batch, Mapping) and isinstance(batch.get("input_ids"), torch.Tensor):
            trained = batch["input_ids"].numel()
            if isinstance(batch.get("labels"), torch.Tensor):
                supervised = int((batch["labels"] != IGNORED).sum())
        training_flops = getattr(pl_module, "training_flops", None)
        flops = float(training_flops(batch)) if callable(training_flops) else 0.0
        counts = [float(trained), float(supervised), flops]
        if trainer.world_size > 1:
            # With each batch, so that a checkpoint, which the first process writes, has what all have counted.
            own = torch.tensor(counts, dtype=torch.float64, device=pl_module.device)
            counts = trainer.strategy.reduce(own, reduce_op="sum").tolist()
        for name, count in zip(("trained_tokens", "supervised_tokens", "train_flops"), counts, strict=True):
            current[name] += count

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = self._finish_epoch(pl_module)
        logged = {f"efficiency/{name}": value for name, value in figures.items() if name != "epoch"}
        pl_module.log_dict(logged, on_step=False, on_epoch=True, rank_zero_only=True)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._current:  # the last epoch's end was never seen
            self._finish_epoch(pl_module)

    def _finish_epoch(self, pl_module: LightningModule) -> dict[str, float]:
        current, self._current = self._current, {}
        seconds = current["train_seconds"]
        figures = {
            **current,
            "tokens_per_second": current["trained_tokens"] / seconds if seconds else 0.0,
            "peak_memory_gib": _peak_memory_gib(pl_module.device),
        }
        self.epochs.append(figures)
        return figures

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "current": self._current}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]
        self._current = state_dict["current"]


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    # ru_maxrss is in kibibytes on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
