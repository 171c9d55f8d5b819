"""Best-fit decreasing bin packing over a histogram of lengths: millions of sequences in a fraction of a second."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Part = tuple[int, int]
"""A length, and how many sequences of it one batch holds."""

Pattern = tuple[int, tuple[Part, ...]]
"""How many batches are filled alike, and with what."""

_NONE = np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False)
class Packing:
    """Which sequences make up each batch.

    Attributes:
        order: Indices of the sequences, batch by batch, shape (N,).
        start: First of each batch in ``order``, shape (batches,).
        end: One past its last.
        tokens: Tokens of each batch.
    """

    order: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    tokens: NDArray[np.int32]


def pack(lengths: NDArray[np.int32], capacity: int, generator: np.random.Generator | None = None) -> Packing:
    """Fills batches: the longest first, each sequence where it leaves the least room, else into a new batch.

    The number of batches depends on the lengths alone.

    Args:
        lengths: Tokens of each sequence, at least 1, shape (N,).
        capacity: Most tokens in a batch. A longer sequence is a batch of its own.
        generator: Draws which of several sequences of the same length is placed first; by default the earlier one.
    """
    order, sizes, totals = [_NONE], [_NONE], [_NONE]
    counts = np.bincount(lengths)
    by_length = _sorted(lengths, generator)
    next_of_length = (np.cumsum(counts) - counts).tolist()
    for batches, parts in _patterns(counts.tolist(), capacity):
        columns = []
        for length, each in parts:
            first = next_of_length[length]
            next_of_length[length] += batches * each
            columns.append(by_length[first : first + batches * each].reshape(batches, each))
        order.append(np.hstack(columns).ravel())
        sizes.append(np.full(batches, sum(each for _, each in parts), np.int32))
        totals.append(np.full(batches, sum(length * each for length, each in parts), np.int32))
    end = np.cumsum(np.concatenate(sizes), dtype=np.int32)
    return Packing(np.concatenate(order), end - np.concatenate(sizes), end, np.concatenate(totals))


def count_batches(lengths: NDArray[np.int32], capacity: int) -> int:
    """How many batches :func:`pack` makes, without making them."""
    return sum(batches for batches, _ in _patterns(np.bincount(lengths).tolist(), capacity))


def _sorted(lengths: NDArray[np.int32], generator: np.random.Generator | None) -> NDArray[np.int32]:
    """Indices of the sequences, the shortest first; those of equal length in a random order, or in their own.

    Length, random number and index share 64 bits, since sorting numbers is several times as fast as finding the order
    of numbers, or as NumPy's shuffling.
    """
    index_bits = len(lengths).bit_length()
    random_bits = max(0, 64 - index_bits - int(lengths.max(initial=0)).bit_length())
    keys = lengths.astype(np.uint64)
    if generator is not None:
        bits = min(32, random_bits)
        keys <<= np.uint64(bits)
        keys |= generator.integers(2**bits, size=len(keys), dtype=np.uint32)
    keys <<= np.uint64(index_bits)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    keys &= np.uint64(2**index_bits - 1)
    return keys.astype(np.int32)


def _patterns(counts: Sequence[int], capacity: int) -> list[Pattern]:
    """Best-fit decreasing for all sequences of a length at once, as batches with the same room are interchangeable.

    Args:
        counts: Number of sequences of each length, from 0.
        capacity: Most tokens in a batch.
    """
    rooms: list[int] = []  # those that some batch has left, ascending
    with_room: dict[int, list[Pattern]] = {}
    full: list[Pattern] = []

    def put(room: int, pattern: Pattern) -> None:
        if room <= 0:
            full.append(pattern)
            return
        if room not in with_room:
            with_room[room] = []
            insort(rooms, room)
        with_room[room].append(pattern)

    for length in range(len(counts) - 1, 0, -1):
        left = counts[length]
        while left:
            place = bisect_left(rooms, length)
            parts: tuple[Part, ...]
            if place == len(rooms):
                room, available, parts = capacity, left, ()
            else:
                room = rooms[place]
                available, parts = with_room[room].pop()
                if not with_room[room]:
                    del with_room[rooms.pop(place)]
            # As long as the length fits again, the batch just filled is the one with the least room.
            each = min(left, max(1, room // length))
            batches = min(available, left // each)
            left -= batches * each
            put(room - each * length, (batches, (*parts, (length, each))))
            if parts and available > batches:
                put(room, (available - batches, parts))
    return full + [pattern for room in rooms for pattern in with_room[room]]
