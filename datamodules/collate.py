"""From planned micro-batches to tensors."""

from __future__ import annotations

from typing import NotRequired, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from prost_lightning.curriculum import Item
from prost_lightning.datamodules.sampler import MicroBatch
from prost_lightning.trajectory import Role

IGNORED = -100
"""Label of tokens without a loss (PyTorch's and Hugging Face's convention)."""


class TokenStore(Protocol):
    """Where the tokens of sequences lie: a list, or a file that is read where it is needed."""

    def __getitem__(self, row: int, /) -> NDArray[np.int32]:
        """Tokens of one whole sequence, shape (T,)."""


class Batch(TypedDict):
    """Several sequences of one role behind one another in one row; T is their total length, nothing is padded.

    The loss of a step is the mean over the labelled tokens of all its micro-batches. A micro-batch's part in it is the
    sum of its tokens' losses over ``step_supervised_tokens``; where gradients are then averaged, over ranks and over
    the accumulation window, as Lightning does, it has to be multiplied by the number of micro-batches in a step. (A
    step that ``limit_train_batches`` cuts short counts as whole.)

    Where ranks are more than sequences, some get an empty micro-batch: one token, without a label and without items.

    Attributes:
        role: Whose adapter is trained.
        input_ids: Tokens, shape (1, T), int64.
        position_ids: Position of each token in its own sequence, shape (1, T), int64. They restart at 0 with each
            sequence, which is how attention keeps the sequences apart.
        labels: Equal to ``input_ids`` on active turns and -100 elsewhere, shape (1, T), int64. Not shifted; a
            sequence's first token never has one.
        supervised_tokens: Number of labels.
        step_supervised_tokens: Number of labels in the whole step: all ranks, the whole accumulation window.
        items: What is trained on.
        active: In validation under a curriculum: whether each token is of an item in the active pool, shape (1, T).
    """

    role: Role
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor
    supervised_tokens: int
    step_supervised_tokens: int
    items: list[Item]
    active: NotRequired[torch.Tensor]


class PackedDataset(Dataset[Batch]):
    """Turns micro-batches into tensors; what a ``DataLoader`` over a curriculum sampler reads from.

    Args:
        tokens: The token store that the sampler's table was made with.

    Example:
        >>> loader = DataLoader(PackedDataset(tokens), sampler=sampler, batch_size=None)  # doctest: +SKIP
    """

    def __init__(self, tokens: TokenStore) -> None:
        self._tokens = tokens

    def __getitem__(self, batch: MicroBatch) -> Batch:
        """Packs the units of a micro-batch, on the CPU."""
        length = sum(unit.length for unit in batch) or 1
        input_ids = np.zeros((1, length), np.int64)
        position_ids = np.zeros((1, length), np.int64)
        labels = np.full((1, length), IGNORED, np.int64)
        first = 0
        for unit in batch:
            part = slice(first, first + unit.length)
            input_ids[0, part] = self._tokens[unit.row][: unit.length]
            position_ids[0, part] = np.arange(unit.length)
            for start, end in unit.turns:
                turn = slice(first + start, first + end)
                labels[0, turn] = input_ids[0, turn]
            first += unit.length
        return Batch(
            role=batch.role,
            input_ids=torch.from_numpy(input_ids),
            position_ids=torch.from_numpy(position_ids),
            labels=torch.from_numpy(labels),
            supervised_tokens=sum(unit.supervised_tokens for unit in batch),
            step_supervised_tokens=batch.step_supervised_tokens,
            items=[item for unit in batch for item in unit.items],
        )

    # A `DataLoader` with `batch_sampler=sampler` asks for whole batches by this name; its collate_fn has nothing to do.
    __getitems__ = __getitem__
