"""Best-fit decreasing bin packing over a histogram of lengths: millions of sequences in a fraction of a second."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Part = tuple[int, int]
"""A length, and how many sequences of it one batch holds."""

Pattern = tuple[int, tuple[Part, ...]]
"""How many batches are filled alike, and with what."""


def pack(lengths: NDArray[np.int32], capacity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Fills batches: the longest first, each sequence where it leaves the least room, else into a new batch.

    Among sequences of the same length, the earlier one is placed first; otherwise their order does not matter. So the
    number of batches depends on the lengths alone.

    Args:
        lengths: Tokens of each sequence, at least 1, shape (N,).
        capacity: Most tokens in a batch. A longer sequence is a batch of its own.

    Returns:
        The sequences' indices, batch by batch, shape (N,), and where each batch begins in them, with the end of the
        last one, shape (batches + 1,).
    """
    if len(lengths) == 0:
        return np.zeros(0, np.int32), np.zeros(1, np.int32)
    # Sorting 16-bit numbers takes NumPy linear time.
    keys = lengths.astype(np.uint16) if lengths.max() < 2**16 else lengths
    by_length = np.argsort(keys, kind="stable").astype(np.int32)
    counts = np.bincount(lengths)
    next_of_length = (np.cumsum(counts) - counts).tolist()
    order, sizes = [], []
    for batches, parts in _patterns(counts.tolist(), capacity):
        columns = []
        for length, each in parts:
            first = next_of_length[length]
            next_of_length[length] += batches * each
            columns.append(by_length[first : first + batches * each].reshape(batches, each))
        order.append(np.hstack(columns).ravel())
        sizes.append(np.full(batches, sum(each for _, each in parts), np.int32))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int32)
    return np.concatenate(order), offsets


def count_batches(lengths: NDArray[np.int32], capacity: int) -> int:
    """How many batches :func:`pack` makes, without making them."""
    return sum(batches for batches, _ in _patterns(np.bincount(lengths).tolist(), capacity))


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
