"""From a tokenised trajectory file to the sequences that are trained and validated on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prost_lightning.datamodules.corpus import Corpus
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.trajectory import ROLES, Role


@dataclass(frozen=True)
class Part:
    """The sequences of one part (training or validation) of the data.

    Attributes:
        table: Conversations with at least one turn to train on.
        dropped: How many turns cannot be trained on.
        examples: Some of those, with the reason, for people to read.
    """

    table: SequenceTable
    dropped: int
    examples: list[str]

    @property
    def turns(self) -> int:
        """Number of turns that may be trained on."""
        return len(self.table.turn_item)


def held_out_trajectories(corpus: Corpus, share: float, seed: int) -> NDArray[np.bool_]:
    """Holds whole scenarios out for validation, so that no task has its near-twin on the other side.

    Args:
        corpus: The data.
        share: Share of scenarios to hold out. Above 0, at least one is held out, and at least one is left.
        seed: Seed of the choice.

    Returns:
        Which conversations are held out, shape (rows,).
    """
    trajectories = corpus.column("trajectory")
    successful = set(np.unique(trajectories[corpus.column("role") >= 0]).tolist())
    scenario = {index: task.rpartition("_")[0] for index, task in corpus.task_ids.items() if index in successful}
    scenarios = sorted(set(scenario.values()))
    count = min(max(1, round(share * len(scenarios))), len(scenarios) - 1) if share > 0 else 0
    chosen = set(random.Random(f"validation {seed}").sample(scenarios, count))
    held_out = np.array([index for index, name in scenario.items() if name in chosen], np.int32)
    return np.isin(trajectories, held_out)


def select(corpus: Corpus, rows: NDArray[np.bool_], *, roles: Sequence[Role], max_tokens: int) -> Part:
    """Takes the conversations of some trajectories and roles, and drops the turns that cannot be trained on.

    Args:
        corpus: The data.
        rows: Which conversations to take, shape (rows,).
        roles: Roles to train.
        max_tokens: Most tokens of context and turn together. A turn that ends beyond is dropped.
    """
    role = corpus.column("role")
    rows = rows & np.isin(role, [ROLES.index(name) for name in roles])
    row_of_turn = np.repeat(np.arange(len(role), dtype=np.int32), corpus.turns)
    start, end = corpus.turn_column("turn_start"), corpus.turn_column("turn_end")
    too_long, empty = end > max_tokens, end == start
    taken = rows[row_of_turn]
    kept = taken & ~too_long & ~empty
    dropped = np.flatnonzero(taken & ~kept)
    first_turn = np.concatenate([[0], np.cumsum(corpus.turns)])
    examples = []
    for turn in dropped[:4].tolist():
        row = row_of_turn[turn]
        reason = (
            f"ends at token {end[turn]}, beyond max_tokens={max_tokens}"
            if too_long[turn]
            else "begins with a token that reaches back into the prompt"
        )
        task = corpus.task_ids[int(corpus.column("trajectory")[row])]
        examples.append(f"{task} {ROLES[role[row]]} turn {turn - first_turn[row] + 1} {reason}")
    kind, kinds = corpus.turn_names("turn_kind")
    app, apps = corpus.turn_names("turn_app")
    table = SequenceTable.build(
        trajectory=corpus.column("trajectory"),
        role=role,
        turns=np.bincount(row_of_turn[kept], minlength=len(role)).astype(np.int32),
        turn_start=start[kept],
        turn_end=end[kept],
        turn_position=corpus.turn_column("turn_position")[kept],
        n_sub_tasks=corpus.column("n_sub_tasks"),
        difficulty=corpus.column("difficulty"),
        turn_kind=kind[kept],
        turn_app=app[kept],
        kinds=kinds,
        apps=apps,
        content=corpus.content,
    )
    return Part(table, len(dropped), examples)
