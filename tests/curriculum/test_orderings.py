from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.curriculum.items import Item, ItemTable
from prost_lightning.curriculum.orderings import CURRICULA, Curriculum, item_levels
from prost_lightning.errors import UserError

BY_PLACE: tuple[Curriculum, ...] = ("progressive", "reverse", "random")
BY_FIGURE: tuple[Curriculum, ...] = ("length", "loss", "frequency")


def table(lengths: list[int], *, seed: int = 0, n_roles: int = 3) -> ItemTable:
    """An item for every role and sub-task of trajectories with so many sub-tasks each."""
    random = np.random.default_rng(seed)
    n_sub_tasks = np.array(lengths, np.int32)
    trajectory = np.repeat(np.arange(len(lengths), dtype=np.int32), n_sub_tasks * n_roles)
    position = np.concatenate([np.repeat(np.arange(1, n + 1, dtype=np.int32), n_roles) for n in lengths])
    size = len(trajectory)
    kind_of_sub_task = random.integers(3, size=(len(lengths), max(lengths) + 1), dtype=np.int32)
    app_of_sub_task = random.integers(4, size=(len(lengths), max(lengths) + 1), dtype=np.int32)
    return ItemTable(
        trajectory=trajectory,
        role=np.tile(np.arange(n_roles, dtype=np.int8), size // n_roles),
        position=position,
        n_sub_tasks=n_sub_tasks[trajectory],
        tokens=random.integers(1, 500, size=size, dtype=np.int32),
        difficulty=random.integers(1, 4, size=len(lengths), dtype=np.int8)[trajectory],
        kind=kind_of_sub_task[trajectory, position],
        app=app_of_sub_task[trajectory, position],
        kinds=("compute", "login", "write"),
        apps=("", "gmail", "gmail+phone", "phone"),
    )


def levels_of(items: ItemTable, curriculum: Curriculum, **arguments: object) -> np.ndarray:
    losses = np.random.default_rng(1).random(len(items)) if curriculum == "loss" else None
    levels, n_stages = item_levels(items, curriculum, losses=losses, **arguments)  # type: ignore[arg-type]
    assert levels.shape == (len(items),)
    assert n_stages >= 1
    return levels


trajectories = st.lists(st.integers(1, 6), min_size=1, max_size=12)


@given(lengths=trajectories, curriculum=st.sampled_from(CURRICULA), seed=st.integers(0, 3), n_stages=st.integers(1, 6))
def test_levels_are_stages_every_stage_opens_something_and_all_is_open_in_the_end(
    lengths: list[int], curriculum: Curriculum, seed: int, n_stages: int
) -> None:
    items = table(lengths, seed=seed)
    losses = items.tokens / 7 if curriculum == "loss" else None
    _, most = item_levels(items, curriculum, seed=seed, losses=losses)
    fewer = min(n_stages, most)
    levels, n = item_levels(items, curriculum, n_stages=fewer, seed=seed, losses=losses)
    if curriculum in (*BY_PLACE, *BY_FIGURE, "standard", "difficulty"):
        assert sorted(set(levels.tolist())) == list(range(1, n + 1))
    assert levels.min() >= 1
    assert levels.max() <= n
    again, _ = item_levels(items, curriculum, n_stages=fewer, seed=seed, losses=losses)
    assert np.array_equal(levels, again)


@given(lengths=trajectories, curriculum=st.sampled_from(BY_PLACE), seed=st.integers(0, 3))
def test_by_place_every_role_of_a_sub_task_opens_together_and_a_trajectory_sub_task_by_sub_task(
    lengths: list[int], curriculum: Curriculum, seed: int
) -> None:
    items = table(lengths)
    levels = levels_of(items, curriculum, seed=seed)
    for trajectory, n in enumerate(lengths):
        mine = items.trajectory == trajectory
        for role in range(3):
            assert sorted(levels[mine & (items.role == role)].tolist()) == list(range(1, n + 1))
        for position in range(1, n + 1):
            assert len(set(levels[mine & (items.position == position)].tolist())) == 1


def test_the_order_of_sub_tasks() -> None:
    items = table([4, 2], n_roles=1)
    assert levels_of(items, "progressive").tolist() == [1, 2, 3, 4, 1, 2]
    assert levels_of(items, "reverse").tolist() == [4, 3, 2, 1, 2, 1]
    assert levels_of(items, "standard").tolist() == [1] * 6
    assert levels_of(table([6], n_roles=1), "progressive", n_stages=3).tolist() == [1, 1, 2, 2, 3, 3]


def test_a_random_order_is_drawn_for_each_trajectory_and_seed() -> None:
    items = table([8] * 10, n_roles=1)
    orders = levels_of(items, "random").reshape(10, 8)
    assert len({tuple(order) for order in orders.tolist()}) > 5
    assert not np.array_equal(orders.ravel(), levels_of(items, "random", seed=1))


def test_a_random_order_counts_sub_tasks_without_items() -> None:
    """A sub-task that one role has nothing to learn from keeps its place, so that roles stay together."""
    items = table([5, 3], n_roles=1)
    kept = np.array([0, 2, 3, 6])
    fewer = ItemTable(
        *(column[kept] for column in (items.trajectory, items.role, items.position, items.n_sub_tasks)),
        *(column[kept] for column in (items.tokens, items.difficulty, items.kind, items.app)),
        kinds=items.kinds,
        apps=items.apps,
    )
    assert np.array_equal(levels_of(fewer, "random"), levels_of(items, "random")[kept])


@given(lengths=st.lists(st.integers(2, 6), min_size=4, max_size=12), n_stages=st.integers(1, 4), seed=st.integers(0, 3))
def test_by_figure_levels_follow_the_figure_in_equal_shares_of_each_role(
    lengths: list[int], n_stages: int, seed: int
) -> None:
    items = table(lengths, seed=seed)
    losses = np.random.default_rng(seed).permutation(len(items)) / 10.0  # no ties
    for curriculum, figure in (("length", items.tokens), ("loss", losses)):
        levels, n = item_levels(items, curriculum, n_stages=n_stages, losses=losses)  # type: ignore[arg-type]
        for role in range(3):
            mine = items.role == role
            order = np.argsort(figure[mine], kind="stable")
            assert (np.diff(levels[mine][order]) >= 0).all()
            if curriculum == "loss":
                sizes = np.bincount(levels[mine], minlength=n + 1)[1:]
                assert sizes.max() - sizes.min() <= 1


def test_frequent_sub_tasks_come_first() -> None:
    items = table([6] * 20, n_roles=1)
    levels = levels_of(items, "frequency", n_stages=3)
    combinations = items.kind * 4 + items.app
    counts = np.bincount(combinations)[combinations]
    assert (np.diff(levels[np.argsort(-counts, kind="stable")]) >= 0).all()
    for combination in set(combinations.tolist()):
        assert len(set(levels[combinations == combination].tolist())) == 1


def test_kinds_apps_and_difficulties_open_one_by_one() -> None:
    items = table([6] * 20, n_roles=1)
    kinds = levels_of(items, "kind")
    counts = np.bincount(items.kind)
    assert [int(kinds[items.kind == kind][0]) for kind in np.argsort(-counts)] == [1, 2, 3]
    apps = levels_of(items, "app")
    level = {items.apps[code]: int(apps[items.app == code][0]) for code in range(4)}
    assert level[""] == 1
    assert sorted([level["gmail"], level["phone"]]) == [1, 2]
    assert level["gmail+phone"] == 2
    assert np.array_equal(levels_of(items, "difficulty"), items.difficulty)


def test_an_unknown_difficulty_comes_last() -> None:
    items = table([1, 1, 1], n_roles=1)
    items.difficulty[:] = [0, 3, 1]
    assert levels_of(items, "difficulty").tolist() == [3, 2, 1]
    items.difficulty[:] = 0
    with pytest.raises(UserError, match="no trajectory says its task's difficulty"):
        item_levels(items, "difficulty")


@pytest.mark.parametrize("curriculum", ["progressive", "kind", "length"])
@pytest.mark.parametrize("n_stages", [0, 100])
def test_more_stages_than_there_is_to_open_are_refused(curriculum: Curriculum, n_stages: int) -> None:
    with pytest.raises(UserError, match=f"n_stages is {n_stages}, but there are"):
        item_levels(table([2, 3]), curriculum, n_stages=n_stages)


def test_losses_must_be_there_whole_and_finite() -> None:
    items = table([2])
    with pytest.raises(UserError, match=r"name their file in data\.losses"):
        item_levels(items, "loss")
    for losses in (np.zeros(3), np.full(len(items), np.nan)):
        with pytest.raises(UserError, match="one finite loss for each of the 6 items"):
            item_levels(items, "loss", losses=losses)


def test_an_item_of_the_table() -> None:
    assert table([1, 2])[4] == Item(1, "executor", 1)


@pytest.mark.parametrize("curriculum", CURRICULA)
def test_a_million_items_take_no_time(curriculum: Curriculum) -> None:
    items = table([10] * 33_334)
    begin = time.perf_counter()
    item_levels(items, curriculum, losses=items.tokens / 7)
    assert time.perf_counter() - begin < 3
