from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from prost_lightning.curriculum import Item
from prost_lightning.datamodules.collate import PackedDataset
from prost_lightning.datamodules.sampler import MicroBatch, SubtaskCurriculumSampler
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.errors import UserError


def make(table: SequenceTable, **arguments: Any) -> SubtaskCurriculumSampler:
    return SubtaskCurriculumSampler(table, table.items.position, **{"tokens_per_batch": 100, **arguments})


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("epoch", [0, 4])
def test_an_epoch_holds_every_active_item_once(team: SequenceTable, stage: int, epoch: int) -> None:
    sampler = make(team)
    sampler.set_stage(stage)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler) == sampler.n_batches(stage=stage, epoch=epoch)
    trained = [item for batch in batches for unit in batch for item in unit.items]
    assert len(trained) == len(set(trained)) == sampler.pool_items
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
    assert sampler.pool_tokens == sum(unit.length for batch in batches for unit in batch)


def test_order_depends_on_seed_stage_and_epoch_alone(team: SequenceTable) -> None:
    def order(seed: int, epoch: int) -> list[MicroBatch]:
        sampler = make(team, seed=seed)
        sampler.set_stage(3)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 1), (2, 1), (2, 3), (3, 2)])
def test_ranks_share_each_step_without_overlap(team: SequenceTable, world_size: int, accumulate: int) -> None:
    ranks = []
    for rank in range(world_size):
        sampler = make(team, world_size=world_size, rank=rank, accumulate_grad_batches=accumulate)
        sampler.set_stage(2)
        ranks.append(list(sampler))
    assert len({len(batches) for batches in ranks}) == 1
    everything = [unit for batches in ranks for batch in batches for unit in batch]
    whole = make(team)
    whole.set_stage(2)
    assert sorted(unit.sequence for unit in everything) == sorted(unit.sequence for batch in whole for unit in batch)
    for first in range(0, len(ranks[0]), accumulate):
        step = [batch for batches in ranks for batch in batches[first : first + accumulate]]
        assert len(step) == world_size * accumulate
        assert len({batch.role for batch in step}) == 1
        supervised = sum(unit.supervised_tokens for batch in step for unit in batch)
        assert {batch.step_supervised_tokens for batch in step} == {supervised}


def test_a_step_is_the_same_on_one_rank_that_accumulates(team: SequenceTable) -> None:
    two = [list(make(team, world_size=2, rank=rank)) for rank in (0, 1)]
    one = list(make(team, accumulate_grad_batches=2))
    assert [batch for pair in zip(*two, strict=True) for batch in pair] == one


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_restored_sampler_goes_on_with_the_next_batch(team: SequenceTable, taken: int) -> None:
    def at_stage_2() -> SubtaskCurriculumSampler:
        sampler = make(team)
        sampler.set_stage(2)
        sampler.set_epoch(1)
        return sampler

    expected = list(at_stage_2())
    killed = at_stage_2()
    first = list(itertools.islice(killed, taken))
    restored = make(team)
    restored.load_state_dict(killed.state_dict())
    restored.set_epoch(1)  # as Lightning does when it starts over
    assert (restored.stage, len(restored)) == (2, len(expected))
    assert first + list(restored) == expected
    # The epoch after is a whole one again.
    restored.set_epoch(2)
    undisturbed = at_stage_2()
    undisturbed.set_epoch(2)
    assert list(restored) == list(undisturbed)


def test_growing_starts_from_the_first_batch(team: SequenceTable) -> None:
    sampler = make(team)
    list(itertools.islice(sampler, 2))
    sampler.set_stage(2)
    assert sampler.state_dict()["batches_done"] == 0
    assert len(list(sampler)) == len(sampler)


def test_a_state_of_other_data_or_settings_is_refused(
    team: SequenceTable, make_table: Callable[..., SequenceTable]
) -> None:
    smaller = make_table([(0, "executor", [(5, 9, 1)])])
    others = [make(smaller), make(team, seed=1), make(team, accumulate_grad_batches=2)]
    others.append(make(team, visible=lambda levels, stage, epoch: levels == stage))
    for other in others:
        with pytest.raises(UserError, match="other trajectories or other data settings"):
            make(team).load_state_dict(other.state_dict())
    make(team, world_size=2, rank=1).load_state_dict(make(team, world_size=2).state_dict())


def test_the_items_of_an_epoch_may_be_chosen_freely(team: SequenceTable) -> None:
    sampler = make(team, visible=lambda levels, stage, epoch: levels == stage)
    sampler.set_stage(3)
    assert {item.position for item in sampler.active_items()} == {3}


@pytest.mark.parametrize("stage", [0, 4])
def test_there_is_no_other_stage(team: SequenceTable, stage: int) -> None:
    with pytest.raises(ValueError, match=r"outside 1\.\.3"):
        make(team).set_stage(stage)


def test_there_is_no_other_rank(team: SequenceTable) -> None:
    with pytest.raises(ValueError, match=r"rank 2 is outside 0\.\.1"):
        make(team, world_size=2, rank=2)


# --- in a plain PyTorch loop -----------------------------------------------------------------------------------------


def tokens_of(table: SequenceTable) -> list[np.ndarray]:
    return [np.arange(100, dtype=np.int32) + 1000 * row for row in range(len(table))]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("given_as", ["sampler", "batch_sampler"])
def test_it_works_in_a_plain_data_loader(team: SequenceTable, num_workers: int, given_as: str) -> None:
    dataset = PackedDataset(tokens_of(team))
    sampler = make(team)
    sampler.set_stage(2)
    expected = [dataset[batch] for batch in sampler]
    options: dict[str, Any] = {"sampler": sampler, "batch_size": None}
    if given_as == "batch_sampler":
        options = {"batch_sampler": sampler, "collate_fn": dict}
    loader = DataLoader(dataset, num_workers=num_workers, **options)
    assert len(loader) == len(expected)
    for batch, same in zip(loader, expected, strict=True):
        assert batch["items"] == same["items"]
        assert torch.equal(batch["labels"], same["labels"])


def test_workers_that_fetch_ahead_do_not_count_as_training(team: SequenceTable) -> None:
    dataset = PackedDataset(tokens_of(team))
    expected = [dataset[batch]["items"] for batch in make(team)]
    sampler = make(team)
    loader = iter(DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=1))
    trained = [next(loader)["items"] for _ in range(2)]
    assert sampler.state_dict()["batches_done"] > 2
    restored = make(team)
    restored.load_state_dict(sampler.state_dict(batches_done=2))
    assert trained + [dataset[batch]["items"] for batch in restored] == expected
