from __future__ import annotations

import numpy as np
import pytest

from prost_lightning.datamodules.plan import EpochPlan, count_steps, interleave, plan_epoch
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.trajectory import ROLES, Role


def visible(table: SequenceTable, stage: int = 3) -> np.ndarray:
    return table.items.position <= stage


def micro_batches(plan: EpochPlan, role: Role | None = None) -> list[list[list[int]]]:
    """Sequences of each micro-batch of each step."""
    return [
        [plan.sequences[start:end].tolist() for start, end in zip(plan.start[step], plan.end[step], strict=True)]
        for step in range(len(plan))
        if role is None or ROLES[plan.role[step]] == role
    ]


@pytest.mark.parametrize("batches_per_step", [1, 2, 4, 40])
@pytest.mark.parametrize("stage", [1, 3])
def test_every_visible_sequence_is_in_one_micro_batch_of_its_role(
    team: SequenceTable, stage: int, batches_per_step: int
) -> None:
    plan = plan_epoch(
        team, visible(team, stage), tokens_per_batch=100, batches_per_step=batches_per_step, shuffle="seed"
    )
    lengths, supervised = team.per_sequence(visible(team, stage))
    trained = [sequence for step in micro_batches(plan) for batch in step for sequence in batch]
    assert sorted(trained) == np.flatnonzero(lengths).tolist()
    for step, batches in enumerate(micro_batches(plan)):
        assert len(batches) == batches_per_step
        for place, batch in enumerate(batches):
            assert all(team.role[sequence] == plan.role[step] for sequence in batch)
            assert plan.tokens[step, place] == lengths[batch].sum() <= 100
        assert plan.supervised_tokens(step) == supervised[np.concatenate(batches).astype(int)].sum()
        # Empty micro-batches only where there is nothing left to divide.
        assert all(batches) or max(map(len, batches)) == 1
    assert count_steps(team, visible(team, stage), tokens_per_batch=100, batches_per_step=batches_per_step) == {
        role: int((plan.role == ROLES.index(role)).sum()) for role in team.roles
    }


def test_a_growing_conversation_is_one_sequence_cut_after_its_last_visible_turn(team: SequenceTable) -> None:
    for stage, length, supervised in ((1, 20, 2), (2, 35, 4), (3, 60, 6)):
        lengths, labelled = team.per_sequence(visible(team, stage))
        assert (lengths[0], labelled[0]) == (length, supervised)


def test_in_reverse_order_earlier_turns_are_context_only(team: SequenceTable) -> None:
    lengths, supervised = team.per_sequence(team.items.position == 3)
    assert (lengths[0], supervised[0]) == (60, 2)


def test_the_order_of_a_role_does_not_depend_on_the_others(team: SequenceTable) -> None:
    together = plan_epoch(team, visible(team), tokens_per_batch=100, batches_per_step=2, shuffle="seed")
    for role in team.roles:
        alone = plan_epoch(
            team,
            visible(team) & (team.items.role == ROLES.index(role)),
            tokens_per_batch=100,
            batches_per_step=2,
            shuffle="seed",
        )
        assert micro_batches(alone) == micro_batches(together, role)


def test_roles_are_spread_evenly() -> None:
    role, order = interleave({"orchestrator": 2, "executor": 4, "critic": 1})
    assert [ROLES[code] for code in role] == [
        "executor", "orchestrator", "executor", "critic", "executor", "orchestrator", "executor",
    ]  # fmt: skip
    assert order.tolist() == [2, 0, 3, 6, 4, 1, 5]
    assert len(interleave({})[0]) == 0


def test_the_last_step_is_divided_by_tokens(team: SequenceTable) -> None:
    critics = visible(team) & (team.items.role == ROLES.index("critic"))  # 27 sequences of 12 tokens
    plan = plan_epoch(team, critics, tokens_per_batch=12 * 20, batches_per_step=4)
    assert len(plan) == 1
    assert sorted(plan.tokens[0].tolist()) == [7 * 12, 7 * 12, 7 * 12, 6 * 12] or plan.tokens[0].max() <= 10 * 12


def test_nothing_visible_is_no_step(team: SequenceTable) -> None:
    assert len(plan_epoch(team, visible(team, 0), tokens_per_batch=100, batches_per_step=2)) == 0
