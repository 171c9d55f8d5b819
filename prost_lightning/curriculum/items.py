"""What a curriculum makes visible: items, one by one or as the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prost_lightning.trajectory import ROLES, Role

Integers = NDArray[np.int32]
Codes = NDArray[np.int8]
Mask = NDArray[np.bool_]


class Item(NamedTuple):
    """The unit that the curriculum makes visible: one role's part in one sub-task of one trajectory.

    Attributes:
        trajectory: Index of the trajectory in its file, from 0.
        role: Who speaks.
        position: Place of the sub-task in its trajectory, from 1.
    """

    trajectory: int
    role: Role
    position: int


@dataclass(frozen=True, eq=False)
class ItemTable:
    """All items of the training data, and what a curriculum may order them by; every column has the shape (items,).

    Attributes:
        trajectory: Index of the trajectory in its file.
        role: Index in :data:`~prost_lightning.trajectory.ROLES`.
        position: Place of the sub-task in its trajectory, from 1.
        n_sub_tasks: Sub-tasks of that trajectory, at least 1.
        tokens: Tokens of the item's turns.
        difficulty: AppWorld's difficulty of the task, 0 if unknown.
        kind: Index of the sub-task's kind in ``kinds``.
        app: Index of its apps in ``apps``.
        kinds: Names of kinds, sorted.
        apps: Names of apps, sorted; several of one sub-task are joined as ``gmail+phone``, none is empty.
    """

    trajectory: Integers
    role: Codes
    position: Integers
    n_sub_tasks: Integers
    tokens: Integers
    difficulty: Codes
    kind: Integers
    app: Integers
    kinds: tuple[str, ...] = ("other",)
    apps: tuple[str, ...] = ("",)

    def __len__(self) -> int:
        return len(self.trajectory)

    def __getitem__(self, index: int) -> Item:
        return Item(int(self.trajectory[index]), ROLES[self.role[index]], int(self.position[index]))
