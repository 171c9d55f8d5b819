"""Grows the pool of sub-tasks that are trained on, stage by stage, as epochs end."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from typing_extensions import override

from prost_lightning.curriculum import stage_of_epoch
from prost_lightning.errors import UserError


@runtime_checkable
class CurriculumTarget(Protocol):
    """What the callback steers: anything whose training data grow in stages.

    It may also offer ``pool_items`` and ``pool_tokens`` (numbers), which are then logged, and ``epochs_per_stage``.
    """

    @property
    def n_stages(self) -> int:
        """Number of stages."""

    def set_stage(self, stage: int) -> None:
        """Makes everything up to this stage, 1..n_stages, visible from the next training loader on."""


class SubtaskCurriculum(Callback):
    """Advances the stage of a curriculum when an epoch ends.

    Epoch 0 is trained at stage 1; every ``epochs_per_stage`` epochs one more stage becomes visible until all are. Each
    epoch logs ``curriculum/stage`` and, if the target offers them, ``curriculum/pool_items`` and
    ``curriculum/pool_tokens``.

    It depends on nothing but the two members of :class:`CurriculumTarget`, so it works in any project whose DataModule
    has them. The stage is a function of the epoch; it is saved too, since Lightning asks for the first loader of a
    resumed run before it knows the epoch.

    Args:
        epochs_per_stage: Epochs that each stage lasts, for a target that does not say it; by default 1.
        target: What to steer; by default the trainer's DataModule, else the LightningModule.

    Raises:
        UserError: ``epochs_per_stage`` is below 1 or not what the target says, no target is there, or the trainer would
            keep the first loader.

    Example:
        >>> trainer = Trainer(callbacks=[SubtaskCurriculum()], reload_dataloaders_every_n_epochs=1)  # doctest: +SKIP
    """

    def __init__(self, epochs_per_stage: int | None = None, target: CurriculumTarget | None = None) -> None:
        if epochs_per_stage is not None and epochs_per_stage < 1:
            raise UserError(f"SubtaskCurriculum.epochs_per_stage is {epochs_per_stage}; it must be at least 1.")
        self.epochs_per_stage = epochs_per_stage
        self.stage = 1
        self._given_target = target
        self._target: CurriculumTarget | None = None  # what is steered while training

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._target = None
        if stage != "fit":
            return
        if trainer.reload_dataloaders_every_n_epochs != 1:  # type: ignore[attr-defined]
            raise UserError(
                "trainer.reload_dataloaders_every_n_epochs must be 1 for SubtaskCurriculum, or Lightning keeps the "
                "first epoch's loader and its length."
            )
        self._target = target = self._find_target(trainer, pl_module)
        said = getattr(target, "epochs_per_stage", self.epochs_per_stage)
        if self.epochs_per_stage not in (None, said):
            raise UserError(
                f"SubtaskCurriculum.epochs_per_stage is {self.epochs_per_stage}, but {type(target).__name__} plans "
                f"with {said} (its learning-rate schedule too); set it there alone."
            )
        self._set_stage(self._stage_of(trainer.current_epoch))
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            last = self._stage_of(trainer.max_epochs - 1)
            if last < target.n_stages:
                rank_zero_warn(
                    f"Training ends at stage {last} of {target.n_stages}, so what comes later is never trained "
                    "on: raise trainer.max_epochs or lower n_stages."
                )

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Resumed from a checkpoint of an epoch's last batch, the epoch's end was never seen; see `on_load_checkpoint`.
        self._grow(trainer.current_epoch)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        target = self._steered
        pool = [f"{value:,} {unit}" for unit, value in _pool(target).items()]
        rank_zero_info(
            f"Epoch {trainer.current_epoch}: curriculum stage {self.stage} of {target.n_stages}"
            + (f", pool of {' and '.join(pool)}" if pool else "")
        )

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = {"stage": self.stage} | {f"pool_{unit}": value for unit, value in _pool(self._steered).items()}
        for name, value in figures.items():
            pl_module.log(f"curriculum/{name}", float(value), rank_zero_only=True)
        # Not in `on_train_epoch_start`: by then Lightning has asked for the epoch's loader.
        self._grow(trainer.current_epoch + 1)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"stage": self.stage}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._target is not None:
            self._set_stage(min(state_dict["stage"], self._target.n_stages))

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Corrects a checkpoint that was written after an epoch's last batch, but before the epoch's end.

        Lightning takes such an epoch for finished, but keeps the count of its batches for the next one if that is
        longer, and so would skip as many of them. Here the checkpoint is made to say what one written at the end of the
        epoch says. (After the very last epoch no other one follows, and Lightning does all that is left to do.)

        Raises:
            UserError: The trainer has ``max_steps``, with which Lightning does not begin the next epoch at its start.
        """
        if self._target is None:  # not training
            return
        loops = checkpoint["loops"]["fit_loop"]
        epoch, batch = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
        epoch_ended = epoch["current"]["processed"] == epoch["current"]["started"]
        last_batch_done = batch["is_last_batch"] and batch["current"]["completed"] < batch["current"]["processed"]
        epochs_done = epoch["current"]["processed"] + (not epoch_ended)
        if not (epoch_ended or last_batch_done) or epochs_done in (0, trainer.max_epochs):
            return
        if trainer.max_steps != -1:
            raise UserError(
                f"the checkpoint ends epoch {epochs_done - 1}, and with trainer.max_steps Lightning cannot go on from "
                "there exactly; limit training with trainer.max_epochs instead."
            )
        if not epoch_ended:
            for count in ("total", "current"):
                epoch[count]["processed"] += 1
                batch[count]["completed"] += 1
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1

    def _find_target(self, trainer: Trainer, pl_module: LightningModule) -> CurriculumTarget:
        datamodule = getattr(trainer, "datamodule", None)
        candidates = (datamodule, pl_module) if self._given_target is None else (self._given_target,)
        for candidate in candidates:
            if isinstance(candidate, CurriculumTarget):
                return candidate
        names = " and ".join(type(candidate).__name__ for candidate in candidates if candidate is not None)
        raise UserError(
            f"SubtaskCurriculum needs `n_stages` and `set_stage(int)`, which {names} lacks; add them to your "
            "DataModule, or pass target= an object that has them."
        )

    @property
    def _steered(self) -> CurriculumTarget:
        assert self._target is not None, "setup() finds the target before any other hook runs"
        return self._target

    def _stage_of(self, epoch: int) -> int:
        target = self._steered
        epochs_per_stage = self.epochs_per_stage or int(getattr(target, "epochs_per_stage", 1))
        return stage_of_epoch(epoch, n_stages=target.n_stages, epochs_per_stage=epochs_per_stage)

    def _grow(self, epoch: int) -> None:
        self._set_stage(max(self.stage, self._stage_of(epoch)))

    def _set_stage(self, stage: int) -> None:
        self.stage = stage
        self._steered.set_stage(stage)


def _pool(target: CurriculumTarget) -> dict[str, int]:
    """The size of the active pool, as far as the target tells it."""
    return {
        unit: int(getattr(target, f"pool_{unit}")) for unit in ("items", "tokens") if hasattr(target, f"pool_{unit}")
    }
