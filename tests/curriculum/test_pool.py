from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.curriculum import Pool
from prost_lightning.errors import UserError

LEVELS = np.repeat(np.arange(1, 7, dtype=np.int32), 200)

replays = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 1 / 3, 1.0])


@given(
    replay=replays, window=st.integers(1, 4), stage=st.integers(1, 6), epoch=st.integers(0, 50), seed=st.integers(0, 3)
)
def test_all_of_the_new_a_share_of_the_old_nothing_of_what_is_to_come(
    replay: float, window: int, stage: int, epoch: int, seed: int
) -> None:
    pool = Pool(replay, window, seed=seed)
    visible = pool(LEVELS, stage, epoch)
    oldest_new = max(1, stage - window + 1)
    assert pool.first_new_level(stage) == oldest_new
    assert visible[(oldest_new <= LEVELS) & (stage >= LEVELS)].all()
    assert not visible[stage < LEVELS].any()
    old = oldest_new > LEVELS
    assert visible[old].sum() == pytest.approx(replay * old.sum(), abs=4 * math.sqrt(old.sum()) * (0 < replay < 1))
    assert np.array_equal(visible, Pool(replay, window, seed=seed)(LEVELS, stage, epoch))


@given(stage=st.integers(1, 5), epoch=st.integers(0, 9))
def test_with_full_replay_the_pool_only_grows_until_all_is_visible(stage: int, epoch: int) -> None:
    pool = Pool()
    before, after = pool(LEVELS, stage, epoch), pool(LEVELS, stage + 1, epoch + 1)
    assert not (before & ~after).any()
    assert pool(LEVELS, 6, epoch).all()


@given(replay=st.floats(0.05, 1), epoch=st.integers(0, 1000), seed=st.integers(0, 3))
def test_an_old_item_is_back_in_time(replay: float, epoch: int, seed: int) -> None:
    pool = Pool(replay, seed=seed)
    together = np.zeros(len(LEVELS), bool)
    for later in range(math.ceil(1 / replay)):
        together |= pool(LEVELS, 6, epoch + later)
    assert together.all()


def test_without_replay_a_window_slides_over_the_levels() -> None:
    levels = np.arange(1, 6)
    assert [levels[Pool(0.0, 2)(levels, stage, 0)].tolist() for stage in range(1, 6)] == [
        [1],
        [1, 2],
        [2, 3],
        [3, 4],
        [4, 5],
    ]


def test_levels_that_open_together_are_all_new() -> None:
    pool = Pool(0.0, stops=(1, 3, 6))
    levels = np.arange(1, 7)
    assert levels[pool(levels, 3, 0)].tolist() == [2, 3]
    assert levels[pool(levels, 6, 0)].tolist() == [4, 5, 6]
    assert levels[Pool(0.0, 2, stops=(1, 3, 6))(levels, 6, 0)].tolist() == [2, 3, 4, 5, 6]


def test_epochs_and_seeds_draw_differently() -> None:
    drawn = {Pool(0.3, seed=seed)(LEVELS, 6, epoch).tobytes() for seed in (0, 1) for epoch in (0, 1)}
    assert len(drawn) == 4


@pytest.mark.parametrize(("settings", "message"), [({"replay": 1.1}, "replay is 1.1"), ({"window": 0}, "window is 0")])
def test_settings_without_a_sense_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pool(**settings)  # type: ignore[arg-type]
