"""Grows the pool of sub-tasks that are trained on, stage by stage, as epochs end."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from typing_extensions import override

from prost_lightning.curriculum import EpochsPerStage, Growth, Mastery, Reason
from prost_lightning.errors import UserError


@runtime_checkable
class CurriculumTarget(Protocol):
    """What the callback steers: anything whose training data grow in stages.

    It may also offer ``pool_items`` and ``pool_tokens`` (numbers), which are then logged, and ``growth``.
    """

    @property
    def n_stages(self) -> int:
        """Number of stages."""

    def set_stage(self, stage: int) -> None:
        """Makes everything up to this stage, 1..n_stages, visible from the next training loader on."""


class SubtaskCurriculum(Callback):
    """Advances the stage of a curriculum when an epoch ends.

    Epoch 0 is trained at stage 1; by default each further epoch makes one more stage visible until all are. Another
    ``growth`` says it otherwise: :class:`~prost_lightning.curriculum.EpochsPerStage`,
    :class:`~prost_lightning.curriculum.Competence` and :class:`~prost_lightning.curriculum.StageTable` by the epoch,
    :class:`~prost_lightning.curriculum.Mastery` by a metric, which the callback reads at each epoch's end from
    ``trainer.callback_metrics``, whoever logged it. (A callback that logs it at the epoch's end comes before this one
    in the trainer's list.) A metric that was not logged anew since is no measurement.

    Each epoch logs ``curriculum/stage`` and, if the target offers them, ``curriculum/pool_items`` and
    ``curriculum/pool_tokens``; under mastery also ``curriculum/epochs_at_stage``, ``curriculum/measured`` (the metric)
    and ``curriculum/reason``, why the next level opens: 0 it does not, 1 threshold, 2 no improvement, 3 most epochs.
    The same is said in words on the console.

    It depends on nothing but the two members of :class:`CurriculumTarget`, so it works in any project whose DataModule
    has them. Its state is in the checkpoint.

    Args:
        growth: When levels open, for a target that does not say it; by default one more each epoch.
        target: What to steer; by default the trainer's DataModule, else the LightningModule.

    Raises:
        UserError: ``growth`` is not what the target says, no target is there, the trainer would keep the first loader,
            or mastery is to be judged by a metric that was never logged.

    Example:
        >>> trainer = Trainer(callbacks=[SubtaskCurriculum()], reload_dataloaders_every_n_epochs=1)  # doctest: +SKIP
    """

    def __init__(self, growth: Growth | None = None, target: CurriculumTarget | None = None) -> None:
        self.stage = 1
        self._given_growth = growth
        self._given_target = target
        self._target: CurriculumTarget | None = None  # what is steered while training
        self._growth: Growth = growth or EpochsPerStage()
        self._ended_epochs = 0  # epochs whose end was seen
        self._epochs_at_stage = 0
        self._measurements: list[float] = []  # of the present stage
        self._measured: float | None = None  # in the present epoch, so far
        self._last_metric: torch.Tensor | None = None
        self._why = ""

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
        said = getattr(target, "growth", None)
        if said is not None and self._given_growth not in (None, said):
            raise UserError(
                f"SubtaskCurriculum.growth is {self._given_growth}, but {type(target).__name__} plans with {said} (its "
                "learning-rate schedule too); set it there alone."
            )
        self._growth = said or self._given_growth or EpochsPerStage()
        self._set_stage(self._growth.stage(0, target.n_stages))
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            last = self._growth.stage(trainer.max_epochs - 1, target.n_stages)
            if last < target.n_stages:
                rank_zero_warn(
                    f"Training ends at stage {last} of {target.n_stages}, so what comes later is never trained "
                    "on: raise trainer.max_epochs or lower n_stages."
                )

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Resumed from a checkpoint of an epoch's last batch, the epoch's end was never seen; see `on_load_checkpoint`.
        ended = trainer.current_epoch
        if self._ended_epochs < ended:
            if isinstance(self._growth, Mastery) and ended % (trainer.check_val_every_n_epoch or 1) == 0:
                _validate(trainer)
            self._end_epoch(trainer, ended)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Already here, since a checkpoint may be written before the epoch's end.
        if self._target is not None and not trainer.sanity_checking:
            self._look(trainer)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        target = self._steered
        pool = [f"{value:,} {unit}" for unit, value in _pool(target).items()]
        rank_zero_info(
            f"Epoch {trainer.current_epoch}: curriculum stage {self.stage} of {target.n_stages}"
            + (f" ({self._why})" if self._why else "")
            + (f", pool of {' and '.join(pool)}" if pool else "")
        )

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures: dict[str, float] = {"stage": self.stage}
        figures |= {f"pool_{unit}": value for unit, value in _pool(self._steered).items()}
        # Not in `on_train_epoch_start`: by then Lightning has asked for the epoch's loader.
        figures |= self._end_epoch(trainer, trainer.current_epoch + 1)
        for name, value in figures.items():
            pl_module.log(f"curriculum/{name}", float(value), rank_zero_only=True)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(self._growth, Mastery) and self.stage < self._steered.n_stages:
            rank_zero_warn(
                f"Training ended at stage {self.stage} of {self._steered.n_stages}, so what comes later was never "
                "trained on: raise trainer.max_epochs, or let Mastery open levels sooner."
            )

    # --- growth -----------------------------------------------------------------------------------------------------

    def _end_epoch(self, trainer: Trainer, ended_epochs: int) -> dict[str, float]:
        """Grows, if it is time to; returns the figures of mastery for the log."""
        self._ended_epochs = ended_epochs
        if not isinstance(self._growth, Mastery):
            self._set_stage(max(self.stage, self._growth.stage(ended_epochs, self._steered.n_stages)))
            return {}
        self._look(trainer)
        # Of rank zero, so that all ranks grow in step, also by a metric that rank zero alone has.
        measured: float | None = trainer.strategy.broadcast(self._measured)
        self._measured = None
        self._epochs_at_stage += 1
        if measured is not None:
            self._measurements.append(measured)
        figures = {"epochs_at_stage": float(self._epochs_at_stage), "reason": float(Reason.NONE)}
        if measured is not None:
            figures["measured"] = measured
        self._why = ""
        if self.stage < self._steered.n_stages:
            self._check_measured(trainer, self._growth)
            decision = self._growth.decide(self._epochs_at_stage, self._measurements)
            self._why = decision.text
            if decision.reason != Reason.NONE:
                figures["reason"] = float(decision.reason)
                self._set_stage(self.stage + 1)
                self._epochs_at_stage, self._measurements = 0, []
        return figures

    def _look(self, trainer: Trainer) -> None:
        """Takes the metric if it was logged anew since the last look."""
        if not isinstance(self._growth, Mastery):
            return
        metric = trainer.callback_metrics.get(self._growth.monitor)
        last, self._last_metric = self._last_metric, metric  # held, so that its memory is not used for the next value
        # Lightning keeps the last value for ever, in ever new views of the same memory.
        if metric is not None and (last is None or metric.data_ptr() != last.data_ptr()):
            self._measured = float(metric)

    def _check_measured(self, trainer: Trainer, mastery: Mastery) -> None:
        """Refuses to judge by a metric that nobody logs."""
        if not self._measurements and self._epochs_at_stage >= mastery.min_epochs:
            known = ", ".join(sorted(trainer.callback_metrics)) or "none"
            raise UserError(
                f"Mastery.monitor is {mastery.monitor}, but that was not logged in the {self._epochs_at_stage} epochs "
                f"of stage {self.stage} (logged: {known}); name one of these, set Mastery.min_epochs to the number of "
                "epochs between two measurements, or let the callback that logs it come before SubtaskCurriculum."
            )

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

    def _set_stage(self, stage: int) -> None:
        self.stage = stage
        self._steered.set_stage(stage)

    # --- state ------------------------------------------------------------------------------------------------------

    @override
    def state_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "ended_epochs": self._ended_epochs,
            "epochs_at_stage": self._epochs_at_stage,
            "measurements": self._measurements,
            "measured": self._measured,
            "why": self._why,
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._target is not None:
            # Before the first loader is asked for, which happens before Lightning knows the epoch.
            self._set_stage(min(state_dict["stage"], self._target.n_stages))
            self._ended_epochs = state_dict["ended_epochs"]
            self._epochs_at_stage = state_dict["epochs_at_stage"]
            self._measurements = list(state_dict["measurements"])
            self._measured = state_dict["measured"]
            self._why = state_dict["why"]

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


def _pool(target: CurriculumTarget) -> dict[str, int]:
    """The size of the active pool, as far as the target tells it."""
    return {
        unit: int(getattr(target, f"pool_{unit}")) for unit in ("items", "tokens") if hasattr(target, f"pool_{unit}")
    }


def _validate(trainer: Trainer) -> None:
    """Runs the validation that follows an epoch's last batch, as Lightning's training loop does."""
    if not trainer.enable_validation:
        return
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
