"""Everything about the sequences to train on except their tokens, as columns: millions of turns, no object for any.

A *sequence* is one role's conversation. Its *turns* are the spans of tokens that may carry labels. Every turn belongs
to an *item*, the unit that the curriculum makes visible: one role's part in one sub-task of one trajectory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from prost_lightning.curriculum.items import Codes, Integers, ItemTable, Mask
from prost_lightning.trajectory import ROLES, Role

_SEQUENCES_AT_ONCE = 2**16
"""So that what is computed on the way stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class SequenceTable:
    """The sequences and their turns; make one with :meth:`build`.

    Attributes:
        trajectory: Index of each sequence's trajectory in its file, shape (sequences,).
        role: Who speaks, an index in :data:`~prost_lightning.trajectory.ROLES`, shape (sequences,).
        row: Where each sequence's tokens are found in the token store, shape (sequences,).
        turn_offset: The turns of sequence ``s`` are ``turn_offset[s]`` up to ``turn_offset[s + 1]``; every sequence has
            at least one; shape (sequences + 1,).
        turn_start: First token of each turn in its sequence, at least 1, shape (turns,).
        turn_end: One past its last token, shape (turns,). Turns are in order and do not overlap.
        turn_item: Its item, shape (turns,).
        items: The items.
        content: What the tokens are made from, for the checkpoint to recognise the data by.
    """

    trajectory: Integers
    role: Codes
    row: Integers
    turn_offset: Integers
    turn_start: Integers
    turn_end: Integers
    turn_item: Integers
    items: ItemTable
    content: str = ""

    @staticmethod
    def build(
        *,
        trajectory: Integers,
        role: Codes,
        turns: Integers,
        turn_start: Integers,
        turn_end: Integers,
        turn_position: Integers,
        row: Integers | None = None,
        n_sub_tasks: Integers | None = None,
        difficulty: Codes | None = None,
        turn_kind: Integers | None = None,
        turn_app: Integers | None = None,
        kinds: Sequence[str] = ("other",),
        apps: Sequence[str] = ("",),
        content: str = "",
    ) -> SequenceTable:
        """Makes a table and finds its items.

        Args:
            trajectory: See the class.
            role: See the class.
            turns: Number of turns of each sequence, shape (sequences,). Sequences without any are left out.
            turn_start: First token of each turn, shape (turns,). The first token of a sequence has nothing that it
                could be predicted from, so a turn that starts there starts with the next one.
            turn_end: See the class.
            turn_position: Sub-task of each turn, from 1, shape (turns,).
            row: See the class; by default each sequence's own index.
            n_sub_tasks: Sub-tasks of each sequence's trajectory; by default the last position seen in it.
            difficulty: Difficulty of each sequence's task; by default 0.
            turn_kind: Kind of each turn's sub-task, an index in ``kinds``; by default 0.
            turn_app: Apps of each turn's sub-task, an index in ``apps``; by default 0.
            kinds: Names of kinds.
            apps: Names of apps.
            content: See the class.
        """
        kept = turns > 0
        sequence = np.repeat(np.arange(len(turns), dtype=np.int32), turns)
        turn_start = np.maximum(turn_start, 1, dtype=np.int32)
        # One number for an item; sorted, it keeps trajectories together and positions in order.
        positions = int(turn_position.max(initial=1)) + 1
        key = (trajectory[sequence].astype(np.int64) * len(ROLES) + role[sequence]) * positions + turn_position
        item_key, first, turn_item = np.unique(key, return_index=True, return_inverse=True)
        item_sequence = sequence[first]
        item_trajectory = trajectory[item_sequence]
        position = (item_key % positions).astype(np.int32)
        if n_sub_tasks is None:
            last = np.zeros(int(item_trajectory.max(initial=0)) + 1, np.int32)
            np.maximum.at(last, item_trajectory, position)
            item_sub_tasks = last[item_trajectory]
        else:
            item_sub_tasks = n_sub_tasks[item_sequence]
        nothing = np.zeros(len(first), np.int32)
        items = ItemTable(
            trajectory=item_trajectory,
            role=role[item_sequence],
            position=position,
            n_sub_tasks=item_sub_tasks,
            tokens=np.bincount(turn_item, turn_end - turn_start, len(first)).astype(np.int32),
            difficulty=nothing.astype(np.int8) if difficulty is None else difficulty[item_sequence],
            kind=nothing if turn_kind is None else turn_kind[first],
            app=nothing if turn_app is None else turn_app[first],
            kinds=tuple(kinds),
            apps=tuple(apps),
        )
        return SequenceTable(
            trajectory=trajectory[kept],
            role=role[kept],
            row=np.flatnonzero(kept).astype(np.int32) if row is None else row[kept],
            turn_offset=np.concatenate([[0], np.cumsum(turns[kept])]).astype(np.int32),
            turn_start=turn_start,
            turn_end=turn_end.astype(np.int32),
            turn_item=turn_item.astype(np.int32),
            items=items,
            content=content,
        )

    def __len__(self) -> int:
        return len(self.role)

    @cached_property
    def roles(self) -> list[Role]:
        """Roles that have a sequence, in the order of :data:`~prost_lightning.trajectory.ROLES`."""
        return [ROLES[code] for code in np.unique(self.role)]

    def per_sequence(self, visible: Mask) -> tuple[Integers, Integers]:
        """Cuts every sequence after its last visible turn, and counts what carries labels up to there.

        Args:
            visible: Which items are trained on, shape (items,).

        Returns:
            Tokens of each sequence, 0 where nothing is visible, and its tokens with labels; both of shape (sequences,).
        """
        lengths = np.empty(len(self), np.int32)
        supervised = np.empty(len(self), np.int32)
        for first in range(0, len(self), _SEQUENCES_AT_ONCE):
            part = slice(first, first + _SEQUENCES_AT_ONCE)
            lengths[part], supervised[part] = self._per_sequence(visible, self.turn_offset[first : part.stop + 1])
        return lengths, supervised

    def _per_sequence(self, visible: Mask, offsets: Integers) -> tuple[Integers, Integers]:
        """The same of consecutive sequences, whose turns begin at these offsets and end at the last."""
        turns = slice(offsets[0], offsets[-1])
        starts, lasts = offsets[:-1] - offsets[0], offsets[1:] - offsets[0] - 1
        turn_end = self.turn_end[turns]
        active = visible.take(self.turn_item[turns])
        # Running over all turns and looked up at each sequence's last one: several times as fast as `reduceat`.
        last_active = np.maximum.accumulate(np.where(active, np.arange(len(active), dtype=np.int32), -1)).take(lasts)
        lengths = np.where(last_active >= starts, turn_end.take(last_active), 0)
        labelled = np.cumsum((turn_end - self.turn_start[turns]) * active).take(lasts)
        return lengths, np.diff(labelled, prepend=0)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any of the columns and with the tokens' content."""
        digest = hashlib.sha256(self.content.encode())
        for table in (self, self.items):
            for field in fields(table):
                column = getattr(table, field.name)
                if isinstance(column, np.ndarray):
                    digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()
