from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.curriculum import Competence, EpochsPerStage, Growth, Mastery, StageTable
from prost_lightning.errors import UserError

growths = st.one_of(
    st.builds(EpochsPerStage, st.integers(1, 4)),
    st.builds(Competence, st.integers(1, 20), st.sampled_from(["linear", "root"]), st.none() | st.floats(0.01, 1)),
    st.lists(st.integers(1, 9), max_size=6).map(lambda stages: StageTable((*sorted(stages), 9))),
    st.builds(Mastery, st.just("val/loss"), min_epochs=st.integers(1, 3)),
)


@given(growth=growths, n_stages=st.integers(9, 12))
def test_stages_never_fall_and_stop_only_where_announced(growth: Growth, n_stages: int) -> None:
    stages = [growth.stage(epoch, n_stages) for epoch in range(60)]
    assert stages == sorted(stages)
    assert set(stages) == set(growth.stages(n_stages))
    assert stages[0] >= 1
    assert stages[-1] == (9 if isinstance(growth, StageTable) else n_stages)


@pytest.mark.parametrize(("epochs", "stages"), [(1, [1, 2, 3, 3, 3, 3, 3]), (2, [1, 1, 2, 2, 3, 3, 3])])
def test_one_more_stage_every_few_epochs(epochs: int, stages: list[int]) -> None:
    assert [EpochsPerStage(epochs).stage(epoch, 3) for epoch in range(7)] == stages


@given(epochs=st.integers(1, 30), n_stages=st.integers(1, 30))
def test_competence_starts_with_one_level_and_is_complete_exactly_when_it_says(epochs: int, n_stages: int) -> None:
    for shape in ("linear", "root"):
        growth = Competence(epochs, shape)  # type: ignore[arg-type]
        assert growth.stage(0, n_stages) == 1
        assert growth.stage(epochs, n_stages) == n_stages
    # The root is ahead of the line in between.
    assert all(
        Competence(epochs, "root").stage(epoch, n_stages) >= Competence(epochs, "linear").stage(epoch, n_stages)
        for epoch in range(epochs)
    )


def test_competence_is_that_of_the_paper() -> None:
    growth = Competence(10, "root", start=0.01)
    for epoch in range(12):
        expected = min(1, math.sqrt(epoch * (1 - 0.01**2) / 10 + 0.01**2))
        assert growth.competence(epoch, 5) == pytest.approx(expected)
    assert [Competence(4, "linear").stage(epoch, 5) for epoch in range(6)] == [1, 2, 3, 4, 5, 5]
    assert [Competence(4, "root").stage(epoch, 5) for epoch in range(6)] == [1, 2, 3, 4, 5, 5]
    assert Competence(4, "root").stages(9) == (1, 4, 6, 7, 9)


def test_a_table_says_it_outright() -> None:
    assert [StageTable([1, 1, 3]).stage(epoch, 3) for epoch in range(5)] == [1, 1, 3, 3, 3]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EpochsPerStage(0), "at least 1"),
        (lambda: Competence(0), "at least 1"),
        (lambda: Competence(3, "square"), "choose linear or root"),  # type: ignore[arg-type]
        (lambda: Competence(3, start=0.0), "above 0"),
        (lambda: StageTable(()), "from 1 and never falling"),
        (lambda: StageTable((2, 1)), "from 1 and never falling"),
        (lambda: StageTable((0, 1)), "from 1 and never falling"),
        (lambda: StageTable((1, 4)).stage(0, 3), "ends at stage 4, but there are 3"),
    ],
)
def test_rules_without_a_sense_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
