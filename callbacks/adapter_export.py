"""Leaves the trained adapters where other tools can load them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from typing_extensions import override

from prost_lightning.errors import UserError
from prost_lightning.modules.sharding import ShardedStrategy


@runtime_checkable
class ExportsAdapters(Protocol):
    """What :class:`AdapterExport` asks of a module."""

    def export_adapters(self, directory: Path) -> None:
        """Writes one PEFT adapter a role as ``directory/<role>/``."""


class AdapterExport(Callback):
    """Exports the adapters in PEFT format when training ends.

    Each role's adapter lies in ``<directory>/<role>/`` and loads with plain
    ``peft.PeftModel.from_pretrained(base, "<directory>/<role>")``. With a ``WandbLogger`` they are logged as an
    artifact too.

    Args:
        directory: Where to write; by default ``<trainer.default_root_dir>/adapters``.

    Raises:
        UserError: At the start of ``fit``, if the module has no ``export_adapters(directory)``.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = Path(directory) if directory is not None else None
        self._exported = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, ExportsAdapters):
            raise UserError(
                f"AdapterExport: {type(pl_module).__name__} has no export_adapters(directory) method; "
                "add one or remove the callback."
            )

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._exported = False

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._export(trainer, pl_module)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning skips `on_train_end` when a resumed run has no epoch left to train.
        if not self._exported:
            self._export(trainer, pl_module)

    def _export(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._exported = True
        directory = self.directory or Path(trainer.default_root_dir) / "adapters"
        assert isinstance(pl_module, ExportsAdapters)
        # A sharded module's adapters come together from all processes; whole ones are written once.
        if trainer.is_global_zero or isinstance(trainer.strategy, ShardedStrategy):
            pl_module.export_adapters(directory)
        if not trainer.is_global_zero:
            return
        rank_zero_info(f"Adapters: {directory}")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_artifact(logger, directory)


def _log_artifact(logger: WandbLogger, directory: Path) -> None:
    # Offline, W&B keeps the artifact beside the run until `wandb sync` uploads it.
    import wandb

    try:
        artifact = wandb.Artifact(f"adapters-{logger.experiment.id}", type="model")
        artifact.add_dir(str(directory))
        logger.experiment.log_artifact(artifact)
    except (wandb.Error, OSError) as error:
        rank_zero_warn(f"W&B did not take the adapters, which are in {directory}: {error}")
