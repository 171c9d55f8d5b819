"""The last word of a run: one JSON file and one short table."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from typing_extensions import override

from prost_lightning.allocation import shared_allocation
from prost_lightning.callbacks.appworld_eval import AppWorldEval
from prost_lightning.callbacks.efficiency_monitor import EfficiencyMonitor
from prost_lightning.files import set_aside
from prost_lightning.pareto import SUMMARY_FILE, pareto
from prost_lightning.provenance import provenance
from prost_lightning.report import comparison_table


class RunSummary(Callback):
    """Writes ``summary.json`` when training ends, prints effectiveness and cost before and after it, and plots them.

    It reads what :class:`AppWorldEval` and :class:`EfficiencyMonitor` kept, so place it after them in the list of
    callbacks. Without an ``AppWorldEval`` the file holds the training figures alone.

    Args:
        directory: Where the files go; by default the trainer's ``default_root_dir``.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = Path(directory) if directory is not None else None
        # Now, not when training ends: by then the code in the checkout may be another.
        self._provenance = provenance()
        self._start = time.perf_counter()
        self._earlier_seconds = 0.0
        self._stages: list[dict[str, int]] = []

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and trainer.ckpt_path is None:
            set_aside(self._directory(trainer) / SUMMARY_FILE)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        source: Any = getattr(trainer, "datamodule", None)
        stage = {"epoch": trainer.current_epoch}
        for name in ("stage", "pool_items", "pool_tokens"):
            if hasattr(source, name):
                stage[name] = int(getattr(source, name))
        if stage not in self._stages:
            self._stages.append(stage)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        directory = self._directory(trainer)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / SUMMARY_FILE
        summary = self._summary(trainer, pl_module)
        path.write_text(json.dumps(summary, indent=2) + "\n")
        console = Console()
        files = [path]
        if "after" in summary:
            console.print(comparison_table(summary))
            _, table, plot = pareto([directory], directory)
            files += [plot, table]
        files += [directory / name for name in ("episodes.jsonl", "adapters", "config.yaml", "metrics.csv")]
        console.print(f"{summary['trained_tokens']:,} tokens trained, {summary['wall_seconds']:.0f} s in all. Written:")
        for file in files:
            if file.exists():
                console.print(f"  {file}", highlight=False)

    def _directory(self, trainer: Trainer) -> Path:
        return self.directory or Path(trainer.default_root_dir)

    def _summary(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        epochs = {
            int(epoch["epoch"]): epoch
            for monitor in callbacks
            if isinstance(monitor, EfficiencyMonitor)
            for epoch in monitor.epochs
        }
        summary: dict[str, Any] = dict(self._provenance)
        summary |= {name: getattr(pl_module, name) for name in ("base_model", "allocation") if hasattr(pl_module, name)}
        if "PL_GLOBAL_SEED" in os.environ:  # where Lightning's seed_everything keeps it
            summary["seed"] = int(os.environ["PL_GLOBAL_SEED"])
        for evaluation in callbacks:
            if isinstance(evaluation, AppWorldEval) and evaluation.results:
                summary |= evaluation.as_summary()
                if hasattr(pl_module, "size"):  # who played, with an adapter or without, not who was trained
                    summary["allocation"] = shared_allocation(evaluation.agents, evaluation.critic, str(pl_module.size))
        summary["stages"] = [stage | epochs.get(stage["epoch"], {}) for stage in self._stages]
        summary["trained_tokens"] = int(sum(epoch["trained_tokens"] for epoch in epochs.values()))
        summary["train_flops"] = sum(epoch["train_flops"] for epoch in epochs.values())
        summary["wall_seconds"] = self._seconds()
        return summary

    def _seconds(self) -> float:
        return self._earlier_seconds + time.perf_counter() - self._start

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._seconds(), "stages": self._stages}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._earlier_seconds = state_dict["seconds"]
        self._stages = state_dict["stages"]
