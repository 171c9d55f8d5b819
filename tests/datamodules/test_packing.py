from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.datamodules.packing import count_batches, pack


def best_fit_decreasing(lengths: list[int], capacity: int) -> list[list[int]]:
    """The textbook algorithm: one sequence after the other, all batches searched."""
    batches: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        fitting = [batch for batch in batches if sum(batch) + length <= capacity]
        if fitting:
            max(fitting, key=sum).append(length)
        else:
            batches.append([length])
    return batches


@given(
    lengths=st.lists(st.integers(1, 90), max_size=60),
    capacity=st.integers(1, 100),
    generator=st.sampled_from([None, np.random.default_rng(0)]),
)
def test_it_packs_as_the_textbook_does(
    lengths: list[int], capacity: int, generator: np.random.Generator | None
) -> None:
    column = np.array(lengths, np.int32)
    packing = pack(column, capacity, generator)
    batches = [packing.order[start:end] for start, end in zip(packing.start, packing.end, strict=True)]
    assert packing.tokens.tolist() == [column[batch].sum() for batch in batches]
    assert sorted(packing.order.tolist()) == list(range(len(lengths)))
    assert all(column[batch].sum() <= capacity or len(batch) == 1 for batch in batches)
    # Batches that are equally full are interchangeable, so what they hold may differ.
    fullness = sorted(int(column[batch].sum()) for batch in batches)
    assert fullness == sorted(sum(batch) for batch in best_fit_decreasing(lengths, capacity))
    assert count_batches(column, capacity) == len(batches)


def test_of_equal_lengths_the_earlier_is_placed_first() -> None:
    packing = pack(np.array([5, 5, 5, 5], np.int32), 10)
    assert packing.order.tolist() == [0, 1, 2, 3]
    assert packing.start.tolist() == [0, 2]


def test_a_sequence_longer_than_a_batch_is_one_of_its_own() -> None:
    packing = pack(np.array([3, 70000, 4], np.int32), 10)
    assert sorted(np.split(packing.order, packing.start[1:]), key=len)[0].tolist() == [1]


def test_a_million_sequences_fill_their_batches() -> None:
    lengths = np.random.default_rng(0).integers(20, 3000, 1_000_000).astype(np.int32)
    assert pack(lengths, 8192).tokens.mean() / 8192 > 0.99


def test_the_order_of_equal_lengths_is_drawn() -> None:
    lengths = np.full(1000, 5, np.int32)
    first, second = (pack(lengths, 100, np.random.default_rng(seed)).order for seed in (0, 1))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(1000))
    assert np.mean(first == second) < 0.05
