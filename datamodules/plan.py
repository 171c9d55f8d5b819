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
        supervised: Tokens with a label in each row of the sequence table, shape (rows,).
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

    def supervised_tokens(self, step: int) -> int:
        """Tokens with a label in a step: all ranks, the whole accumulation window.

        Args:
            step: Index of the step.
        """
        # Counted when a step's turn has come: to count those of all steps takes a tenth of the time of planning.
        batches = zip(self.start[step], self.end[step], strict=True)
        return sum(int(self.supervised[self.sequences[start:end]].sum(dtype=np.int64)) for start, end in batches)

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
    parts: dict[Role, tuple[Integers, Integers]] = {}
    planned = 0
    for role in table.roles:
        names = _sequences_of(table, role, lengths)
        if len(names) == 0:
            continue
        generator = None if shuffle is None else _generator(f"{shuffle} {role}")
        packing = pack(lengths.take(names), tokens_per_batch, generator, names=names)
        batches = np.stack([packing.start, packing.end, packing.tokens], axis=1)
        if generator is not None:
            batches = batches.take(generator.permutation(len(batches)), axis=0)
        steps = _group(batches, lengths, packing.order, batches_per_step)
        steps[..., :2] += planned
        planned += len(packing.order)
        parts[role] = packing.order, steps
    if not parts:
        empty = np.zeros((0, batches_per_step), np.int32)
        return EpochPlan(visible, empty[:, 0], empty, empty, np.zeros(0, np.int8), empty, supervised)
    roles, order = interleave({role: len(steps) for role, (_, steps) in parts.items()})
    steps = np.concatenate([steps for _, steps in parts.values()]).take(order, axis=0)
    start, end, tokens = (np.ascontiguousarray(steps[..., column]) for column in range(3))
    sequences = np.concatenate([rows for rows, _ in parts.values()])
    return EpochPlan(visible, sequences, start, end, roles, tokens, supervised)


def count_steps(
    table: SequenceTable, visible: Mask, *, tokens_per_batch: int, batches_per_step: int = 1
) -> dict[Role, int]:
    """How many steps of each role :func:`plan_epoch` plans, without planning them."""
    lengths, _ = table.per_sequence(visible)
    steps: dict[Role, int] = {}
    for role in table.roles:
        of_role = _sequences_of(table, role, lengths)
        if len(of_role):
            steps[role] = -(-count_batches(lengths.take(of_role), tokens_per_batch) // batches_per_step)
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


def _sequences_of(table: SequenceTable, role: Role, lengths: Integers) -> Integers:
    """Rows of a role's sequences of which something is visible, ascending."""
    return np.flatnonzero((table.role == ROLES.index(role)) & (lengths > 0)).astype(np.int32)


def _group(batches: Integers, lengths: Integers, rows: Integers, batches_per_step: int) -> Integers:
    """Groups a role's micro-batches into steps, and divides those of the last step until it is full.

    Args:
        batches: Start and end in ``rows``, and tokens of each micro-batch, shape (batches, 3).
        lengths: Tokens of each row of the table.
        rows: Rows of the table, micro-batch by micro-batch.
        batches_per_step: Micro-batches in a step.

    Returns:
        The same of each micro-batch, shape (steps, batches_per_step, 3).
    """
    whole = len(batches) // batches_per_step * batches_per_step
    last = batches[whole:].tolist()
    while 0 < len(last) < batches_per_step:
        divisible = [batch for batch in last if batch[1] - batch[0] > 1]
        if not divisible:
            last += [[0, 0, 0]] * (batches_per_step - len(last))
            break
        longest = max(divisible, key=lambda batch: batch[2])
        start, end, tokens = longest
        so_far = np.cumsum(lengths[rows[start:end]])
        cut = start + 1 + int(np.argmin(np.abs(2 * so_far[:-1] - tokens)))
        place = last.index(longest)
        last[place : place + 1] = [
            [first, past, int(lengths[rows[first:past]].sum())] for first, past in ((start, cut), (cut, end))
        ]
    divided = np.array(last, np.int32).reshape(-1, 3)
    return np.concatenate([batches[:whole], divided]).reshape(-1, batches_per_step, 3)


def _generator(seed: str) -> np.random.Generator:
    """A generator seeded by a text; unlike ``hash``, the same in every process."""
    return np.random.default_rng(np.frombuffer(hashlib.sha256(seed.encode()).digest(), np.uint32))
