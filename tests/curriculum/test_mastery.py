from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.curriculum import Mastery, Reason
from prost_lightning.errors import UserError


def test_a_threshold_opens_the_next_level() -> None:
    rule = Mastery("val/loss", threshold=0.5, patience=None)
    assert rule.decide(1, [0.6]) == (Reason.NONE, "val/loss 0.6, not mastered yet")
    assert rule.decide(2, [0.6, 0.5]) == (Reason.THRESHOLD, "val/loss 0.5 reached the threshold 0.5")
    better = Mastery("eval/tgc", mode="max", threshold=50, patience=None)
    assert better.decide(1, [49]).reason == Reason.NONE
    assert better.decide(1, [51]) == (Reason.THRESHOLD, "eval/tgc 51 reached the threshold 50")


def test_so_does_a_metric_that_has_stopped_improving() -> None:
    rule = Mastery("val/loss", patience=2, min_delta=0.1)
    assert rule.decide(3, [1.0, 0.8, 0.75]).reason == Reason.NONE
    assert rule.decide(4, [1.0, 0.8, 0.75, 0.72]) == (
        Reason.PLATEAU,
        "val/loss 0.72 has not improved for 2 measurements",
    )
    assert rule.decide(5, [1.0, 0.8, 0.75, 0.72, 0.6]).reason == Reason.NONE
    upwards = Mastery("eval/tgc", mode="max", patience=1)
    assert upwards.decide(2, [10, 20]).reason == Reason.NONE
    assert upwards.decide(2, [10, 10]).reason == Reason.PLATEAU


def test_a_stage_lasts_its_fewest_and_at_most_its_most_epochs() -> None:
    rule = Mastery("val/loss", threshold=0.5, patience=None, min_epochs=2, max_epochs=3)
    assert rule.decide(1, [0.1]) == (Reason.NONE, "stage lasts at least 2 epochs")
    assert rule.decide(2, [0.1, 0.1]).reason == Reason.THRESHOLD
    assert rule.decide(2, [0.9, 0.9]).reason == Reason.NONE
    assert rule.decide(3, [0.9, 0.9, 0.9]) == (
        Reason.MAX_EPOCHS,
        "val/loss 0.9; the stage has lasted 3 epochs, its most",
    )
    # An epoch may have measured nothing.
    assert rule.decide(3, []).reason == Reason.MAX_EPOCHS
    assert Mastery("val/loss", patience=1).decide(5, []) == (Reason.NONE, "val/loss not measured, not mastered yet")


def test_a_measurement_that_is_no_number_is_no_improvement() -> None:
    assert Mastery("val/loss", patience=2).decide(3, [1.0, float("nan"), float("nan")]).reason == Reason.PLATEAU
    assert Mastery("val/loss", threshold=1.0, patience=None).decide(1, [float("nan")]).reason == Reason.NONE


@given(
    values=st.lists(st.floats(0, 1), max_size=8),
    mode=st.sampled_from(["min", "max"]),
    patience=st.integers(1, 3),
    min_epochs=st.integers(1, 3),
    extra=st.integers(0, 3),
)
def test_no_stage_is_shorter_or_longer_than_allowed(
    values: list[float], mode: Any, patience: int, min_epochs: int, extra: int
) -> None:
    rule = Mastery("m", mode=mode, patience=patience, min_epochs=min_epochs, max_epochs=min_epochs + extra)
    for epochs in range(1, len(values) + 1):
        grows = rule.decide(epochs, values[:epochs]).reason != Reason.NONE
        assert not (grows and epochs < min_epochs)
        assert grows or epochs < min_epochs + extra


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "less"}, "choose min or max"),
        ({"patience": None}, "nothing would ever open a level"),
        ({"patience": 0}, "patience is 0"),
        ({"min_delta": -1.0}, "min_delta is -1"),
        ({"min_epochs": 0}, "min_epochs is 0"),
        ({"min_epochs": 3, "max_epochs": 2}, "max_epochs is 2, below min_epochs=3"),
    ],
)
def test_settings_without_a_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Mastery("val/loss", **settings)
