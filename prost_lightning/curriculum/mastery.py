"""Growth that waits until the present stage is mastered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prost_lightning.curriculum.growth import Growth
from prost_lightning.errors import UserError


@dataclass(frozen=True)
class Mastery(Growth):
    """Opens the next level when a metric passes a threshold, or stops improving.

    Which epoch that is cannot be known before, so :meth:`stage` tells the earliest possible stage of an epoch. A plan
    of the learning rate takes the run to be as long as the fastest growth makes it; with a slower one, fewer steps are
    done and the rate ends higher.

    Attributes:
        monitor: Name of the metric in ``trainer.callback_metrics``, as ``val/loss`` or ``eval/sub_task_error``.
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

    def reason_to_grow(self, epochs: int, measurements: Sequence[float]) -> str | None:
        """Decides at the end of an epoch whether the next level opens; pure.

        Args:
            epochs: Epochs that the present stage has lasted.
            measurements: What the metric was in this stage, oldest first; an epoch may have measured nothing.

        Returns:
            Why it opens, in words; None if it does not.
        """
        if epochs < self.min_epochs:
            return None
        if measurements and self.threshold is not None and self._better_or_equal(measurements[-1], self.threshold):
            return f"{self.monitor} {measurements[-1]:.4g} reached the threshold {self.threshold:.4g}"
        if self.patience is not None and (waited := self._without_improvement(measurements)) >= self.patience:
            return f"{self.monitor} {measurements[-1]:.4g} has not improved for {waited} measurements"
        if self.max_epochs is not None and epochs >= self.max_epochs:
            return f"the stage has lasted {epochs} epochs, its most"
        return None

    def _better_or_equal(self, value: float, other: float) -> bool:
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
