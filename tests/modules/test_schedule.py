from __future__ import annotations

from typing import Any

import pytest
import torch

from prost_lightning.modules.schedule import LearningRateCurve, OwnStepsSchedule

CURVE = LearningRateCurve(warmup_share=0.2, decay="linear", final_share=0.1)
TOTALS = {"executor": 5, "critic": 10}


def make() -> tuple[torch.optim.Optimizer, OwnStepsSchedule]:
    groups: list[dict[str, Any]] = [{"params": [torch.nn.Parameter(torch.ones(1))], "name": role} for role in TOTALS]
    optimizer = torch.optim.AdamW(groups, lr=2.0)
    return optimizer, OwnStepsSchedule(optimizer, CURVE, list(TOTALS.values()))


def train(optimizer: torch.optim.Optimizer, schedule: OwnStepsSchedule, roles: str) -> list[float]:
    """Steps of the roles with these initials; returns the learning rate of each."""
    rates = []
    for initial in roles:
        optimizer.zero_grad()
        (group,) = [group for group in optimizer.param_groups if group["name"].startswith(initial)]
        group["params"][0].grad = torch.ones(1)
        rates.append(group["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(("decay", "last"), [("cosine", 0.1), ("linear", 0.1), ("constant", 1.0)])
def test_the_curve_rises_and_ends_where_it_is_said(decay: Any, last: float) -> None:
    curve = LearningRateCurve(0.1, decay, 0.1)
    share = [curve.share(step, 40) for step in range(41)]
    assert share[0] < share[3] < share[4] == 1.0
    assert share[4:] == sorted(share[4:], reverse=True)
    assert share[40] == pytest.approx(last)


def test_a_role_has_the_learning_rates_that_it_would_have_alone() -> None:
    together = train(*make(), "ececcecceccecccc"[:15])
    roles = "ececcecceccecccc"[:15]
    for initial, role in (("e", "executor"), ("c", "critic")):
        own = [rate for rate, stepped in zip(together, roles, strict=True) if stepped == initial]
        assert own == train(*make(), initial * len(own))
        assert own == pytest.approx([2.0 * CURVE.share(step, TOTALS[role]) for step in range(len(own))])


def test_a_resumed_schedule_goes_on_with_the_steps_of_each_role() -> None:
    whole = train(*make(), "eccecce")
    optimizer, schedule = make()
    train(optimizer, schedule, "ecce")
    resumed_optimizer, resumed = make()
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert train(resumed_optimizer, resumed, "cce") == whole[4:]
