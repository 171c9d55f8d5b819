"""Which levels sub-tasks have that are not trained on: those of an evaluation's tasks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from prost_lightning.curriculum.items import Integers, ItemTable
from prost_lightning.curriculum.orderings import Curriculum


class SubTaskFeatures(NamedTuple):
    """What orderings go by that is known of a sub-task which nobody has tokenised.

    Attributes:
        position: Its place in the task, from 1.
        n_sub_tasks: Sub-tasks of the task.
        difficulty: AppWorld's difficulty of the task, 0 if unknown.
        kind: Its kind.
        apps: Its apps, sorted and joined as ``gmail+phone``.
    """

    position: int
    n_sub_tasks: int
    difficulty: int
    kind: str
    apps: str


# What items of the same level have in common. The other orderings go by an item's own text or by chance.
_KEYS: dict[Curriculum, Callable[[SubTaskFeatures], Hashable]] = {
    "progressive": lambda sub_task: sub_task.position,
    "reverse": lambda sub_task: sub_task.n_sub_tasks - sub_task.position,
    "difficulty": lambda sub_task: sub_task.difficulty,
    "kind": lambda sub_task: sub_task.kind,
    "app": lambda sub_task: sub_task.apps,
    "frequency": lambda sub_task: (sub_task.kind, sub_task.apps),
}


def sub_task_levels(
    items: ItemTable, levels: Integers, curriculum: Curriculum, sub_tasks: Sequence[SubTaskFeatures]
) -> Integers:
    """Gives sub-tasks the levels of those items that are like them.

    Args:
        items: The items that are trained on.
        levels: Their levels, shape (items,).
        curriculum: The ordering that the levels come from. Under ``standard``, ``random``, ``length`` and ``loss`` a
            sub-task from elsewhere has no place, so that all are open from the start.
        sub_tasks: The sub-tasks.

    Returns:
        The levels, shape (sub-tasks,). What is like nothing that is trained on opens last.
    """
    if curriculum not in _KEYS:
        return np.ones(len(sub_tasks), np.int32)
    columns = np.stack([items.position, items.n_sub_tasks, items.difficulty, items.kind, items.app, levels], axis=1)
    level_of: dict[Hashable, int] = {}
    for position, n_sub_tasks, difficulty, kind, app, level in np.unique(columns, axis=0).tolist():
        features = SubTaskFeatures(position, n_sub_tasks, difficulty, items.kinds[kind], items.apps[app])
        key = _KEYS[curriculum](features)
        level_of[key] = min(level, level_of.get(key, level))
    last = int(levels.max(initial=1))
    return np.array([level_of.get(_KEYS[curriculum](sub_task), last) for sub_task in sub_tasks], np.int32)
