"""From training units to the tensors of one packed batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch

from prost_lightning.curriculum import Item
from prost_lightning.datamodules.sampler import TrainingUnit
from prost_lightning.trajectory import Role

IGNORED = -100
"""Label of tokens without a loss (PyTorch's and Hugging Face's convention)."""


class Batch(TypedDict):
    """Several sequences of one role behind one another in one row; T is their total length, nothing is padded.

    Attributes:
        role: Whose adapter is trained.
        input_ids: Tokens, shape (1, T), int64.
        position_ids: Position of each token in its own sequence, shape (1, T), int64. They restart at 0 with each
            sequence, which is how attention keeps the sequences apart.
        labels: Equal to ``input_ids`` on active turns and -100 elsewhere, shape (1, T), int64. Not shifted.
        items: What is trained on.
    """

    role: Role
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor
    items: list[Item]


def collate(units: Sequence[TrainingUnit]) -> Batch:
    """Packs units of one role into a batch.

    Args:
        units: At least one; all of the same role.

    Returns:
        The batch, on the CPU.
    """
    labels = []
    for unit in units:
        unit_labels = torch.full((unit.length,), IGNORED)
        for turn in unit.turns:
            unit_labels[turn.start : turn.end] = unit.sequence.input_ids[turn.start : turn.end]
        labels.append(unit_labels)
    return Batch(
        role=units[0].sequence.role,
        input_ids=torch.cat([unit.sequence.input_ids[: unit.length] for unit in units]).unsqueeze(0),
        position_ids=torch.cat([torch.arange(unit.length) for unit in units]).unsqueeze(0),
        labels=torch.cat(labels).unsqueeze(0),
        items=[item for unit in units for item in unit.items],
    )
