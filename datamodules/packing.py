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

_RANDOM_BITS = 24
"""Enough to tell sequences of the same length apart, and so few that ten million of any length still have room."""

_KEYS_AT_ONCE = 2**16
"""So that what is computed on the way stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Packing:
    """Which sequences make up each batch.

    Attributes:
        order: Names (by default indices) of the sequences, batch by batch, shape (N,).
        start: First of each batch in ``order``, shape (batches,).
        end: One past its last.
        tokens: Tokens of each batch.
    """

    order: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    tokens: NDArray[np.int32]


def pack(
    lengths: NDArray[np.int32],
    capacity: int,
    generator: np.random.Generator | None = None,
    *,
    names: NDArray[np.int32] | None = None,
) -> Packing:
    """Fills batches: the longest first, each sequence where it leaves the least room, else into a new batch.

    The number of batches depends on the lengths alone.

    Args:
        lengths: Tokens of each sequence, at least 1, shape (N,).
        capacity: Most tokens in a batch. A longer sequence is a batch of its own.
        generator: Draws which of several sequences of the same length is placed first; by default that with the lower
            name.
        names: Distinct numbers that stand for the sequences in ``order``, at least 0, shape (N,); by default their
            indices.
    """
    counts = np.bincount(lengths)
    patterns = _patterns(counts.tolist(), capacity)
    by_length = _sorted(lengths, generator, np.arange(len(lengths), dtype=np.int32) if names is None else names)
    next_of_length = (np.cumsum(counts) - counts).tolist()
    order = np.empty(len(lengths), np.int32)
    placed = 0
    for batches, parts in patterns:
        size = sum(each for _, each in parts)
        alike = order[placed : placed + batches * size].reshape(batches, size)
        column = 0
        for length, each in parts:
            first = next_of_length[length]
            next_of_length[length] += batches * each
            alike[:, column : column + each] = by_length[first : first + batches * each].reshape(batches, each)
            column += each
        placed += batches * size
    repeats = [batches for batches, _ in patterns]
    sizes = np.repeat(np.array([sum(each for _, each in parts) for _, parts in patterns], np.int32), repeats)
    totals = np.array([sum(length * each for length, each in parts) for _, parts in patterns], np.int32)
    end = np.cumsum(sizes, dtype=np.int32)
    return Packing(order, end - sizes, end, np.repeat(totals, repeats))


def count_batches(lengths: NDArray[np.int32], capacity: int) -> int:
    """How many batches :func:`pack` makes, without making them."""
    return sum(batches for batches, _ in _patterns(np.bincount(lengths).tolist(), capacity))


def _sorted(
    lengths: NDArray[np.int32], generator: np.random.Generator | None, names: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Names of the sequences, the shortest first; those of equal length in a random order, or in that of their names.

    Length, random number and name share 64 bits, since sorting numbers is several times as fast as finding the order
    of numbers, or as NumPy's shuffling.
    """
    name_bits = int(names.max(initial=0)).bit_length()
    bits = min(_RANDOM_BITS, 64 - name_bits - int(lengths.max(initial=0)).bit_length())
    keys = np.empty(len(names), np.uint64)
    for first in range(0, len(keys), _KEYS_AT_ONCE):
        part = slice(first, first + _KEYS_AT_ONCE)
        some = lengths[part].astype(np.uint64)
        if generator is not None:
            some <<= np.uint64(bits)
            some |= generator.integers(2**bits, size=len(some), dtype=np.uint32)
        some <<= np.uint64(name_bits)
        some |= names[part].astype(np.uint32)
        keys[part] = some
    keys.sort()
    by_length = keys.astype(np.uint32)  # the lower half of the bits
    by_length &= np.uint32(2**name_bits - 1)
    return by_length.view(np.int32)


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
