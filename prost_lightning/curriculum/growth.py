"""When a curriculum opens its levels: the stage of each epoch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from prost_lightning.errors import UserError


class Growth(ABC):
    """A rule that says at which stage an epoch is. Its subclasses are the rules; all of them only ever grow."""

    @abstractmethod
    def stage(self, epoch: int, n_stages: int) -> int:
        """Tells the stage of an epoch.

        Args:
            epoch: Epoch, from 0.
            n_stages: Number of stages.

        Returns:
            The stage, 1..n_stages.
        """

    def stages(self, n_stages: int) -> tuple[int, ...]:
        """The stages that are stopped at, ascending: where the rule jumps, the levels between open together.

        Args:
            n_stages: Number of stages.
        """
        return tuple(range(1, n_stages + 1))


@dataclass(frozen=True)
class EpochsPerStage(Growth):
    """One more level every few epochs; the last stage lasts until training ends.

    Attributes:
        epochs: Epochs that each stage lasts.
    """

    epochs: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UserError(f"EpochsPerStage.epochs is {self.epochs}; it must be at least 1.")

    def stage(self, epoch: int, n_stages: int) -> int:
        """See :meth:`Growth.stage`."""
        return min(n_stages, 1 + epoch // self.epochs)


@dataclass(frozen=True)
class Competence(Growth):
    """Opens levels as a competence rises from ``start`` to 1 over a number of epochs.

    The competence at epoch ``t`` of ``T`` is ``min(1, (t (1 - c0^p) / T + c0^p)^(1/p))`` with p = 1 (``linear``) or
    p = 2 (``root``: fast at first, then slower, so that every new item gets about as much time as those before it);
    Platanios et al. 2019, "Competence-based Curriculum Learning for Neural Machine Translation", equations 5 to 8.
    There it is the share of the training examples, here it is the share of the levels that are open.

    Attributes:
        epochs: Epochs until everything is open, T.
        shape: ``linear`` or ``root``.
        start: Competence in epoch 0, c0, above 0 and at most 1; by default that of one level.
    """

    epochs: int
    shape: Literal["linear", "root"] = "root"
    start: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UserError(f"Competence.epochs is {self.epochs}; it must be at least 1.")
        if self.shape not in ("linear", "root"):
            raise UserError(f"Competence.shape is {self.shape!r}; choose linear or root.")
        if self.start is not None and not 0 < self.start <= 1:
            raise UserError(f"Competence.start is {self.start}; it must be above 0 and at most 1.")

    def competence(self, epoch: int, n_stages: int) -> float:
        """The share of the levels that may be open in an epoch, 0 to 1.

        Args:
            epoch: Epoch, from 0.
            n_stages: Number of stages.
        """
        power = 2 if self.shape == "root" else 1
        start = (1 / n_stages if self.start is None else self.start) ** power
        reached: float = (epoch * (1 - start) / self.epochs + start) ** (1 / power)
        return min(1.0, reached)

    def stage(self, epoch: int, n_stages: int) -> int:
        """See :meth:`Growth.stage`."""
        # A share that is a level exactly must not fall below it by rounding.
        return max(1, math.floor(self.competence(epoch, n_stages) * n_stages + 1e-9))

    def stages(self, n_stages: int) -> tuple[int, ...]:
        """See :meth:`Growth.stages`."""
        return tuple(sorted({self.stage(epoch, n_stages) for epoch in range(self.epochs + 1)}))


@dataclass(frozen=True)
class StageTable(Growth):
    """Says the stage of each epoch outright.

    Attributes:
        table: Stage of epoch 0, 1, 2, ..., never falling; the last one lasts until training ends.
    """

    table: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", tuple(self.table))  # a config file gives a list
        if not self.table or self.table[0] < 1 or list(self.table) != sorted(self.table):
            raise UserError(
                f"StageTable.table is {list(self.table)}; give a stage for each epoch, from 1 and never falling."
            )

    def stage(self, epoch: int, n_stages: int) -> int:
        """See :meth:`Growth.stage`.

        Raises:
            UserError: The table names a stage that there is not.
        """
        if self.table[-1] > n_stages:
            raise UserError(f"StageTable.table ends at stage {self.table[-1]}, but there are {n_stages}.")
        return self.table[min(epoch, len(self.table) - 1)]

    def stages(self, n_stages: int) -> tuple[int, ...]:
        """See :meth:`Growth.stages`."""
        return tuple(sorted(set(self.table)))
