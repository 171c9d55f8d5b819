from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.curriculum import Item
from prost_lightning.datamodules.sampler import (
    SubtaskCurriculumSampler,
    TrainingSequence,
    TrainingUnit,
    Turn,
    active_units,
    pack,
)
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Role

Identity = tuple[int, Role, int]


def sequence(trajectory: int, role: Role, *ends: int, levels: tuple[int, ...] | None = None) -> TrainingSequence:
    """A conversation whose turns are the two tokens before each end; turn k belongs to sub-task k."""
    turns = tuple(
        Turn(end - 2, end, position, levels[position - 1] if levels else position)
        for position, end in enumerate(ends, start=1)
    )
    return TrainingSequence(trajectory, role, torch.arange(ends[-1] + 1), turns)


def team(n_trajectories: int = 9) -> list[TrainingSequence]:
    """Growing orchestrator conversations and one executor and critic conversation for each of three sub-tasks."""
    sequences = []
    for trajectory in range(n_trajectories):
        sequences.append(sequence(trajectory, "orchestrator", 20, 35, 60))
        for position in (1, 2, 3):
            for role, length in (("executor", 30 + 7 * trajectory), ("critic", 12)):
                turn = Turn(length - 5, length, position, position)
                sequences.append(TrainingSequence(trajectory, role, torch.arange(length + 1), (turn,)))  # type: ignore[arg-type]
    return sequences


def identity(batches: list[list[TrainingUnit]]) -> list[list[tuple[list[Item], int]]]:
    return [[(unit.items, unit.length) for unit in batch] for batch in batches]


def make(sequences: list[TrainingSequence] | None = None, *, seed: int = 0) -> SubtaskCurriculumSampler:
    return SubtaskCurriculumSampler(sequences or team(), n_stages=3, tokens_per_batch=100, seed=seed)


def test_a_growing_conversation_is_one_unit_cut_after_its_last_active_turn() -> None:
    growing = sequence(0, "orchestrator", 20, 35, 60)
    for stage, length in ((1, 20), (2, 35), (3, 60)):
        (unit,) = active_units([growing], stage)
        assert unit.length == length
        assert unit.items == [Item(0, "orchestrator", position) for position in range(1, stage + 1)]


def test_in_reverse_order_earlier_turns_are_context_only() -> None:
    (unit,) = active_units([sequence(0, "orchestrator", 20, 35, 60, levels=(3, 2, 1))], 1)
    assert (unit.length, unit.items) == (60, [Item(0, "orchestrator", 3)])


def test_what_is_not_yet_visible_is_left_out() -> None:
    assert active_units([sequence(0, "executor", 20, levels=(2,))], 1) == []


@given(
    lengths=st.lists(
        st.tuples(st.sampled_from(["orchestrator", "executor", "critic"]), st.integers(2, 90)), max_size=40
    ),
    tokens_per_batch=st.integers(1, 100),
)
def test_packing_loses_nothing_and_mixes_no_roles(lengths: list[tuple[Role, int]], tokens_per_batch: int) -> None:
    units = active_units([sequence(index, role, length) for index, (role, length) in enumerate(lengths)], 1)
    batches = pack(units, tokens_per_batch)
    assert sorted(unit.sequence.trajectory for batch in batches for unit in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len({unit.sequence.role for unit in batch}) == 1
        assert sum(unit.length for unit in batch) <= tokens_per_batch or len(batch) == 1
    # No two batches of a role would have fitted into one.
    for first, second in itertools.combinations(batches, 2):
        if first[0].sequence.role == second[0].sequence.role:
            assert sum(unit.length for unit in first + second) > tokens_per_batch


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("epoch", [0, 4])
def test_an_epoch_holds_every_active_unit_once(stage: int, epoch: int) -> None:
    sampler = make()
    sampler.set_stage(stage)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    trained = [item for batch in batches for unit in batch for item in unit.items]
    assert len(trained) == len(set(trained)) == len(sampler.active_items())
    assert (
        set(trained)
        == sampler.active_items()
        == {
            Item(trajectory, role, position)
            for trajectory in range(9)
            for role in ("orchestrator", "executor", "critic")
            for position in range(1, stage + 1)
        }
    )
    assert sampler.pool_tokens() == sum(unit.length for batch in batches for unit in batch)


def test_order_depends_on_seed_stage_and_epoch_alone() -> None:
    def order(seed: int, stage: int, epoch: int) -> list[list[tuple[list[Item], int]]]:
        return identity(make(seed=seed).batches(stage=stage, epoch=epoch))

    assert order(0, 3, 1) == order(0, 3, 1)
    assert order(0, 3, 1) != order(0, 3, 2)
    assert order(0, 3, 1) != order(1, 3, 1)


def test_roles_are_interleaved() -> None:
    roles = [batch[0].sequence.role for batch in make().batches(stage=3, epoch=0)]
    assert sum(first != second for first, second in itertools.pairwise(roles)) > 3


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_restored_sampler_goes_on_with_the_next_batch(taken: int) -> None:
    undisturbed = make()
    undisturbed.set_stage(2)
    undisturbed.set_epoch(1)
    expected = identity(list(undisturbed))

    killed = make()
    killed.set_stage(2)
    killed.set_epoch(1)
    first = identity(list(itertools.islice(killed, taken)))
    restored = make()
    restored.load_state_dict(killed.state_dict())
    restored.set_epoch(1)  # as Lightning does when it starts over
    assert (restored.stage, len(restored)) == (2, len(expected))
    assert first + identity(list(restored)) == expected
    # The epoch after is a whole one again.
    restored.set_epoch(2)
    undisturbed.set_epoch(2)
    assert identity(list(restored)) == identity(list(undisturbed))


def test_growing_starts_from_the_first_batch() -> None:
    sampler = make()
    list(itertools.islice(sampler, 2))
    sampler.set_stage(2)
    assert sampler.state_dict()["batches_done"] == 0
    assert len(list(sampler)) == len(sampler)


@pytest.mark.parametrize("other", [make(team(8)), make(seed=1)])
def test_a_state_of_other_data_is_refused(other: SubtaskCurriculumSampler) -> None:
    with pytest.raises(UserError, match="other trajectories or other data settings"):
        make().load_state_dict(other.state_dict())


@pytest.mark.parametrize("stage", [0, 4])
def test_there_is_no_other_stage(stage: int) -> None:
    with pytest.raises(ValueError, match=r"outside 1\.\.3"):
        make().set_stage(stage)
