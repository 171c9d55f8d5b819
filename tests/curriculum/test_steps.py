from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.curriculum import CURRICULA, optimizer_steps, stage_of_epoch, sub_task_levels


def test_progressive_shows_one_more_sub_task_in_order_at_each_stage() -> None:
    assert sub_task_levels("progressive", 4, n_stages=4, longest=4) == (1, 2, 3, 4)


def test_a_short_trajectory_is_complete_before_the_longest() -> None:
    assert sub_task_levels("progressive", 2, n_stages=4, longest=4) == (1, 2)
    assert sub_task_levels("reverse", 2, n_stages=4, longest=4) == (2, 1)


def test_standard_shows_everything_from_the_start() -> None:
    assert sub_task_levels("standard", 3, n_stages=1, longest=4) == (1, 1, 1)


def test_random_order_is_drawn_for_each_trajectory_and_seed() -> None:
    def order(seed: int, trajectory: int) -> tuple[int, ...]:
        return sub_task_levels("random", 8, n_stages=8, longest=8, seed=seed, trajectory=trajectory)

    assert order(0, 0) == order(0, 0)
    assert len({order(0, trajectory) for trajectory in range(10)}) > 5
    assert order(0, 0) != order(1, 0)


def test_fewer_stages_than_sub_tasks_spread_evenly() -> None:
    assert sub_task_levels("progressive", 6, n_stages=3, longest=6) == (1, 1, 2, 2, 3, 3)


@given(
    curriculum=st.sampled_from(CURRICULA),
    longest=st.integers(1, 12),
    shorter_by=st.integers(0, 11),
    fewer_stages=st.integers(0, 11),
    seed=st.integers(0, 5),
)
def test_levels_are_stages_and_each_stage_adds_something(
    curriculum: str, longest: int, shorter_by: int, fewer_stages: int, seed: int
) -> None:
    n_stages = 1 if curriculum == "standard" else max(1, longest - fewer_stages)
    n_sub_tasks = max(1, longest - shorter_by)

    levels = sub_task_levels(curriculum, n_sub_tasks, n_stages=n_stages, longest=longest, seed=seed)  # type: ignore[arg-type]
    assert len(levels) == n_sub_tasks
    assert set(levels) <= set(range(1, n_stages + 1))
    if n_sub_tasks == longest:
        sizes = Counter(levels)
        assert sorted(sizes) == list(range(1, n_stages + 1))
        assert max(sizes.values()) - min(sizes.values()) <= 1 or curriculum == "standard"


@pytest.mark.parametrize(("epochs_per_stage", "stages"), [(1, [1, 2, 3, 3, 3, 3, 3]), (2, [1, 1, 2, 2, 3, 3, 3])])
def test_stage_grows_with_the_epoch_and_stays_at_the_last(epochs_per_stage: int, stages: list[int]) -> None:
    assert [stage_of_epoch(epoch, n_stages=3, epochs_per_stage=epochs_per_stage) for epoch in range(7)] == stages


def test_an_epochs_last_batch_always_steps() -> None:
    assert optimizer_steps([4, 5, 9], accumulate_grad_batches=4) == 1 + 2 + 3
    assert optimizer_steps([4, 5, 9]) == 18
