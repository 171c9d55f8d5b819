"""Sequence tables without tokens, of any shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.trajectory import ROLES, Role

Turn = tuple[int, int, int]
"""Start, end and position."""

MakeTable = Callable[[Sequence[tuple[int, Role, Sequence[Turn]]]], SequenceTable]


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Makes a table of sequences, each given as trajectory, role and turns."""

    def make(sequences: Sequence[tuple[int, Role, Sequence[Turn]]]) -> SequenceTable:
        turns = np.array([turn for _, _, turns in sequences for turn in turns], np.int32).reshape(-1, 3)
        return SequenceTable.build(
            trajectory=np.array([trajectory for trajectory, _, _ in sequences], np.int32),
            role=np.array([ROLES.index(role) for _, role, _ in sequences], np.int8),
            turns=np.array([len(turns) for _, _, turns in sequences], np.int32),
            turn_start=turns[:, 0],
            turn_end=turns[:, 1],
            turn_position=turns[:, 2],
        )

    return make


@pytest.fixture(scope="session")
def team(make_table: MakeTable) -> SequenceTable:
    """Nine trajectories: a growing orchestrator conversation, an executor's and a critic's for each of 3 sub-tasks."""
    sequences: list[tuple[int, Role, Sequence[Turn]]] = []
    for trajectory in range(9):
        sequences.append((trajectory, "orchestrator", [(18, 20, 1), (33, 35, 2), (58, 60, 3)]))
        for position in (1, 2, 3):
            length = 30 + 7 * trajectory
            sequences.append((trajectory, "executor", [(length - 5, length, position)]))
            sequences.append((trajectory, "critic", [(7, 12, position)]))
    return make_table(sequences)
