"""All steps of an epoch, planned before the first one: which sequences go into which micro-batch of which rank.

A *step* is what one optimiser step learns from: ``world_size * accumulate_grad_batches`` micro-batches of ONE role. So
ranks and accumulation windows never mix roles, the adapter of a role steps as it would if it were trained alone, and
the number of tokens that a step's loss is the mean of is known to every rank without communication.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from prost_lightning.curriculum.items import Codes, Integers, Mask
from prost_lightning.datamodules.packing import count_batches, pack
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.trajectory import ROLES, Role


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The steps of an epoch, in order; M is the number of micro-batches in a step.

    Attributes:
        visible: Which items are trained on, shape (items,).
        sequences: Rows of the sequence table, micro-batch by micro-batch, shape (N,).
        start: First of each micro-batch in ``sequences``, shape (steps, M).
        end: One past its last, shape (steps, M); equal to ``start`` for a micro-batch that is left empty.
        role: Role of each step, an index in :data:`~prost_lightning.trajectory.ROLES`, shape (steps,).
        tokens: Tokens of each micro-batch, shape (steps, M).
        supervised: Tokens with a label in each micro-batch, shape (steps, M).
    """

    visible: Mask
    sequences: Integers
    start: Integers
    end: Integers
    role: Codes
    tokens: Integers
    supervised: Integers

    def __len__(self) -> int:
        return len(self.role)

    def fill(self, tokens_per_batch: int) -> float:
        """Share of the token budget that is used, over all micro-batches, 0 to 1."""
        return float(self.tokens.sum(dtype=np.int64)) / max(1, self.tokens.size * tokens_per_batch)


def plan_epoch(
    table: SequenceTable,
    visible: Mask,
    *,
    tokens_per_batch: int,
    batches_per_step: int = 1,
    shuffle: str | None = None,
) -> EpochPlan:
    """Plans an epoch over everything visible; pure.

    The order of a role's micro-batches does not depend on which other roles there are. The roles' steps are spread
    evenly over the epoch.

    Args:
        table: The sequences.
        visible: Which items are trained on, shape (items,).
        tokens_per_batch: Most tokens in a micro-batch; a longer sequence is one of its own.
        batches_per_step: Micro-batches in a step, over all ranks and the whole accumulation window. Where the last step
            of a role cannot be filled, its micro-batches are divided; only if it has fewer sequences are some empty.
        shuffle: Seed of the order; None keeps sequences in theirs.
    """
    lengths, supervised = table.per_sequence(visible)
    parts = []
    for code in np.unique(table.role):
        rows = np.flatnonzero((table.role == code) & (lengths > 0)).astype(np.int32)
        if len(rows) == 0:
            continue
        generator = None if shuffle is None else _generator(f"{shuffle} {ROLES[code]}")
        if generator is not None:
            generator.shuffle(rows)
        order, offsets = pack(lengths[rows], tokens_per_batch)
        rows = rows[order]
        batches = np.arange(len(offsets) - 1, dtype=np.int32)
        if generator is not None:
            generator.shuffle(batches)
        start, end = _steps(offsets[batches], offsets[batches + 1], lengths[rows], batches_per_step)
        parts.append((code, rows, start, end))
    if not parts:
        empty = np.zeros((0, batches_per_step), np.int32)
        return EpochPlan(visible, empty[:, 0], empty, empty, np.zeros(0, np.int8), empty, empty)
    sequences = np.concatenate([rows for _, rows, _, _ in parts])
    role, order = interleave({ROLES[code]: len(start) for code, _, start, _ in parts})
    before = np.cumsum([0, *(len(rows) for _, rows, _, _ in parts[:-1])])
    start, end = (
        np.concatenate([part[index] + shift for part, shift in zip(parts, before, strict=True)])[order].astype(np.int32)
        for index in (2, 3)
    )
    tokens, labelled = (_sums(column[sequences], start, end) for column in (lengths, supervised))
    return EpochPlan(visible, sequences, start, end, role, tokens, labelled)


def count_steps(
    table: SequenceTable, visible: Mask, *, tokens_per_batch: int, batches_per_step: int = 1
) -> dict[Role, int]:
    """How many steps of each role :func:`plan_epoch` plans, without planning them."""
    lengths, _ = table.per_sequence(visible)
    steps: dict[Role, int] = {}
    for role in table.roles:
        of_role = lengths[(table.role == ROLES.index(role)) & (lengths > 0)]
        if len(of_role):
            steps[role] = -(-count_batches(of_role, tokens_per_batch) // batches_per_step)
    return steps


def interleave(steps: dict[Role, int]) -> tuple[Codes, Integers]:
    """Spreads the steps of every role evenly over an epoch.

    Args:
        steps: Number of steps of each role, in the order of :data:`~prost_lightning.trajectory.ROLES`.

    Returns:
        The role of each step, and the step's index if all of the first role's steps are counted before the second's;
        both of shape (steps,).
    """
    counts = list(steps.values())
    role = np.repeat(np.array([ROLES.index(role) for role in steps], np.int8), counts)
    moments = np.concatenate([(np.arange(count) + 0.5) / count for count in counts] or [np.zeros(0)])
    order = np.lexsort((role, moments)).astype(np.int32)
    return role[order], order


def _steps(start: Integers, end: Integers, lengths: Integers, batches_per_step: int) -> tuple[Integers, Integers]:
    """Groups a role's micro-batches into steps, and divides those of the last step until it is full.

    Args:
        start: First sequence of each micro-batch, shape (batches,).
        end: One past its last.
        lengths: Tokens of each sequence.
        batches_per_step: Micro-batches in a step.

    Returns:
        Start and end again, both of shape (steps, batches_per_step).
    """
    whole = len(start) // batches_per_step * batches_per_step
    last = list(zip(start[whole:].tolist(), end[whole:].tolist(), strict=True))
    while 0 < len(last) < batches_per_step:
        divisible = [bounds for bounds in last if bounds[1] - bounds[0] > 1]
        if not divisible:
            last += [(0, 0)] * (batches_per_step - len(last))
            break
        longest = max(divisible, key=lambda bounds: int(lengths[bounds[0] : bounds[1]].sum()))
        cumulated = np.cumsum(lengths[longest[0] : longest[1]])
        cut = longest[0] + 1 + int(np.argmin(np.abs(2 * cumulated[:-1] - cumulated[-1])))
        place = last.index(longest)
        last[place : place + 1] = [(longest[0], cut), (cut, longest[1])]
    bounds = np.array(last, np.int32).reshape(-1, 2)
    shape = (-1, batches_per_step)
    return (
        np.concatenate([start[:whole], bounds[:, 0]]).reshape(shape),
        np.concatenate([end[:whole], bounds[:, 1]]).reshape(shape),
    )


def _sums(values: Integers, start: Integers, end: Integers) -> Integers:
    """Sums over ``values[start:end]``, for arrays of bounds."""
    cumulated = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=cumulated[1:])
    return (cumulated[end] - cumulated[start]).astype(np.int32)


def _generator(seed: str) -> np.random.Generator:
    """A generator seeded by a text; unlike ``hash``, the same in every process."""
    return np.random.default_rng(np.frombuffer(hashlib.sha256(seed.encode()).digest(), np.uint32))
