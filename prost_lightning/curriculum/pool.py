"""Which items are trained on in an epoch: everything new, and as much of the old as is wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prost_lightning.curriculum.items import Integers, Mask
from prost_lightning.errors import UserError

_TURN = 2**32  # phases are unsigned 32-bit numbers, which wrap around as angles do


@dataclass(frozen=True)
class Pool:
    """Says which items are visible at a stage and in an epoch, from their levels alone.

    New is what opened with the last ``window`` growths; all of it is visible. Of what is older, a share is drawn anew
    for each epoch: ``replay=1`` keeps all of it (the pool only ever grows), ``replay=0.3`` keeps 30%, ``replay=0``
    keeps nothing (a window that slides over the levels). The draws take turns, so that an old item is back at the
    latest after ``ceil(1 / replay)`` epochs.

    Attributes:
        replay: Share of the old items that stays, 0 to 1.
        window: Growths that count as new, at least 1.
        stops: Stages that growth stops at, ascending (:meth:`.Growth.stages`): where it jumps, all levels that open
            together are new. By default it opens one level at a time.
        seed: Seed of the draws.

    Example:
        >>> Pool(replay=0.0)(np.array([1, 1, 2, 3]), stage=2, epoch=1)
        array([False, False,  True, False])
    """

    replay: float = 1.0
    window: int = 1
    stops: tuple[int, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.replay <= 1:
            raise UserError(f"data.replay is {self.replay}; it must be a share from 0 to 1.")
        if self.window < 1:
            raise UserError(f"data.window is {self.window}; it must be at least 1.")

    def __call__(self, levels: Integers, stage: int, epoch: int) -> Mask:
        """Tells which items are visible; pure.

        Args:
            levels: Level of each item, from 1, shape (items,).
            stage: Present stage, from 1.
            epoch: Epoch, from 0.

        Returns:
            Whether each item is visible, shape (items,).
        """
        visible: Mask = levels <= stage
        oldest_new = self.first_new_level(stage)
        if self.replay == 1 or oldest_new == 1:
            return visible
        old = levels < oldest_new
        visible &= ~old
        if self.replay > 0:
            visible |= old & self._replayed(len(levels), epoch)
        return visible

    def first_new_level(self, stage: int) -> int:
        """The lowest level that counts as new at a stage.

        Args:
            stage: Present stage, from 1.
        """
        before = [stop for stop in self.stops or range(1, stage) if stop < stage]
        return before[-self.window] + 1 if len(before) >= self.window else 1

    def _replayed(self, n_items: int, epoch: int) -> Mask:
        """Every item has a phase; an epoch keeps those in an arc of ``replay``, and the next epoch's arc follows."""
        phases = np.random.default_rng(self.seed).integers(_TURN, size=n_items, dtype=np.uint32)
        arc = math.ceil(self.replay * _TURN)
        phases -= np.uint32(epoch * arc % _TURN)
        return phases < arc
