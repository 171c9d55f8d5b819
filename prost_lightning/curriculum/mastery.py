"""Growth that waits until the present stage is mastered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

from prost_lightning.curriculum.growth import Growth
from prost_lightning.errors import UserError


class Reason(IntEnum):
    """Why a level opens, as a number that loggers take."""

    NONE = 0
    """It does not."""
    THRESHOLD = 1
    """The metric reached the threshold."""
    PLATEAU = 2
    """The metric has stopped improving."""
    MAX_EPOCHS = 3
    """The stage has lasted as long as it may."""


class Decision(NamedTuple):
    """Whether the next level opens.

    Attributes:
        reason: Why, or that it does not.
        text: The same in words, for people to read.
    """

    reason: Reason
    text: str


@dataclass(frozen=True)
class Mastery(Growth):
    """Opens the next level when a metric passes a threshold, or stops improving.

    Which epoch that is cannot be known before, so :meth:`stage` tells the earliest possible stage of an epoch. A plan
    of the learning rate takes the run to be as long as the fastest growth makes it; with a slower one, fewer steps are
    done and the rate ends higher.

    Attributes:
        monitor: Name of the metric in ``trainer.callback_metrics``, as ``val/active_loss`` or
            ``eval/active_sub_task_error_rate``.
        mode: Whether less (``min``) or more (``max``) is better.
        threshold: Value that opens the next level when reached; None for none.
        patience: Measurements in a row without an improvement that open the next level; None for no such rule.
        min_delta: By how much a measurement has to beat the best of the present stage to count as an improvement.
        min_epochs: Fewest epochs that a stage lasts.
        max_epochs: Most epochs that a stage lasts; None for no limit.
    """

    monitor: str
    mode: Literal["min", "max"] = "min"
    threshold: float | None = None
    patience: int | None = 2
    min_delta: float = 0.0
    min_epochs: int = 1
    max_epochs: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise UserError(f"Mastery.mode is {self.mode!r}; choose min or max.")
        if self.threshold is None and self.patience is None and self.max_epochs is None:
            raise UserError("Mastery: nothing would ever open a level; give threshold, patience or max_epochs.")
        if self.patience is not None and self.patience < 1:
            raise UserError(f"Mastery.patience is {self.patience}; it must be at least 1.")
        if self.min_delta < 0:
            raise UserError(f"Mastery.min_delta is {self.min_delta}; it must be at least 0.")
        if self.min_epochs < 1:
            raise UserError(f"Mastery.min_epochs is {self.min_epochs}; it must be at least 1.")
        if self.max_epochs is not None and self.max_epochs < self.min_epochs:
            raise UserError(f"Mastery.max_epochs is {self.max_epochs}, below min_epochs={self.min_epochs}.")

    def stage(self, epoch: int, n_stages: int) -> int:
        """Tells the earliest possible stage; see :meth:`Growth.stage`."""
        return min(n_stages, 1 + epoch // self.min_epochs)

    def decide(self, epochs: int, measurements: Sequence[float]) -> Decision:
        """Decides at the end of an epoch whether the next level opens; pure.

        Args:
            epochs: Epochs that the present stage has lasted.
            measurements: What the metric was in this stage, oldest first; an epoch may have measured nothing.
        """
        if epochs < self.min_epochs:
            return Decision(Reason.NONE, f"stage lasts at least {self.min_epochs} epochs")
        now = f"{self.monitor} {measurements[-1]:.4g}" if measurements else f"{self.monitor} not measured"
        if measurements and self.threshold is not None and self._reaches(measurements[-1], self.threshold):
            return Decision(Reason.THRESHOLD, f"{now} reached the threshold {self.threshold:.4g}")
        waited = self._without_improvement(measurements)
        if self.patience is not None and waited >= self.patience:
            return Decision(Reason.PLATEAU, f"{now} has not improved for {waited} measurements")
        if self.max_epochs is not None and epochs >= self.max_epochs:
            return Decision(Reason.MAX_EPOCHS, f"{now}; the stage has lasted {epochs} epochs, its most")
        return Decision(Reason.NONE, f"{now}, not mastered yet")

    def _reaches(self, value: float, other: float) -> bool:
        return value <= other if self.mode == "min" else value >= other

    def _without_improvement(self, measurements: Sequence[float]) -> int:
        """Measurements since the best one."""
        sign = 1 if self.mode == "min" else -1
        best, waited = math.inf, 0
        for value in measurements:
            if sign * value < best - self.min_delta:
                best, waited = sign * value, 0
            else:
                waited += 1
        return waited
