from __future__ import annotations

import numpy as np
import pytest

from prost_lightning.curriculum.items import ItemTable
from prost_lightning.curriculum.orderings import CURRICULA, Curriculum, item_levels
from prost_lightning.curriculum.sub_tasks import SubTaskFeatures, sub_task_levels

# Of each sub-task: position, sub-tasks of its trajectory, difficulty, kind, apps.
SUB_TASKS = [
    SubTaskFeatures(1, 3, 1, "login", "venmo"),
    SubTaskFeatures(2, 3, 1, "collect", "venmo"),
    SubTaskFeatures(3, 3, 1, "write", "phone+venmo"),
    SubTaskFeatures(1, 2, 2, "login", "venmo"),
    SubTaskFeatures(2, 2, 2, "write", "phone"),
]
BY_LIKENESS = ("progressive", "reverse", "difficulty", "kind", "app", "frequency")


def items() -> ItemTable:
    position, n_sub_tasks, difficulty, kind, app = zip(*SUB_TASKS, strict=True)
    kinds, apps = sorted(set(kind)), sorted(set(app))
    return ItemTable(
        trajectory=np.array([0, 0, 0, 1, 1], np.int32),
        role=np.ones(5, np.int8),
        position=np.array(position, np.int32),
        n_sub_tasks=np.array(n_sub_tasks, np.int32),
        tokens=np.arange(1, 6, dtype=np.int32),
        difficulty=np.array(difficulty, np.int8),
        kind=np.array([kinds.index(name) for name in kind], np.int32),
        app=np.array([apps.index(name) for name in app], np.int32),
        kinds=tuple(kinds),
        apps=tuple(apps),
    )


@pytest.mark.parametrize("curriculum", CURRICULA)
def test_a_sub_task_opens_with_those_like_it(curriculum: Curriculum) -> None:
    levels, _ = item_levels(items(), curriculum, losses=np.arange(5.0))
    expected = levels if curriculum in BY_LIKENESS else np.ones(5)
    assert sub_task_levels(items(), levels, curriculum, SUB_TASKS).tolist() == expected.tolist()


@pytest.mark.parametrize("curriculum", BY_LIKENESS)
def test_what_is_like_nothing_that_is_trained_on_opens_last(curriculum: Curriculum) -> None:
    levels, n_stages = item_levels(items(), curriculum)
    unknown = SubTaskFeatures(4, 9, 3, "compute", "gmail")
    assert sub_task_levels(items(), levels, curriculum, [unknown]).tolist() == [n_stages]
    assert sub_task_levels(items(), levels, curriculum, []).tolist() == []
