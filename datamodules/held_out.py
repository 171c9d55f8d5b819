"""Held-out data while a curriculum grows: everything is measured, and what is open so far is told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from prost_lightning.curriculum import Curriculum, ItemTable, item_levels
from prost_lightning.curriculum.items import Integers, Mask
from prost_lightning.datamodules.collate import Batch, PackedDataset
from prost_lightning.datamodules.loader import FixedLoader
from prost_lightning.datamodules.plan import plan_epoch
from prost_lightning.datamodules.sampler import MicroBatch, micro_batch
from prost_lightning.datamodules.table import SequenceTable

NO_ITEM = -1
"""Item of the tokens that belong to none."""


def token_items(table: SequenceTable, batch: MicroBatch) -> Integers:
    """Tells which item each token of a micro-batch belongs to.

    Args:
        table: The sequences.
        batch: Some of them, whole or cut.

    Returns:
        Index in ``table.items``, -1 for the tokens of no turn, shape (T,).
    """
    items = np.full(sum(unit.length for unit in batch) or 1, NO_ITEM, np.int32)
    first = 0
    for unit in batch:
        for turn in range(table.turn_offset[unit.sequence], table.turn_offset[unit.sequence + 1]):
            if table.turn_end[turn] <= unit.length:
                items[first + table.turn_start[turn] : first + table.turn_end[turn]] = table.turn_item[turn]
        first += unit.length
    return items


def held_out_levels(
    training: ItemTable, held_out: ItemTable, curriculum: Curriculum, *, n_stages: int | None, last: int, seed: int
) -> Integers:
    """Gives held-out items the levels that they would have among those that are trained on.

    Args:
        training: The items that are trained on.
        held_out: Those that are not.
        curriculum: The ordering. For ``loss`` there is nothing to go by, so that all are open from the start.
        n_stages: Number of stages that was asked for; see :func:`~prost_lightning.curriculum.item_levels`.
        last: Number of stages that there are. What would come later opens with the last.
        seed: Seed of the ``random`` order.

    Returns:
        The levels, shape (held-out items,).
    """
    if curriculum == "loss" or len(held_out) == 0:
        return np.ones(len(held_out), np.int32)
    columns = {
        name: np.concatenate([getattr(training, name), getattr(held_out, name)])
        for name in ("trajectory", "role", "position", "n_sub_tasks", "tokens", "difficulty", "kind", "app")
    }
    together = ItemTable(**columns, kinds=training.kinds, apps=training.apps)
    levels, _ = item_levels(together, curriculum, n_stages=n_stages, seed=seed)
    return np.minimum(levels[len(training) :], last)


def whole_batches(table: SequenceTable, *, tokens_per_batch: int, world_size: int, rank: int) -> list[MicroBatch]:
    """Packs all turns of a table. Every rank has batches of the same roles, so that all of them log the same losses.

    Args:
        table: The sequences.
        tokens_per_batch: Most tokens in a batch.
        world_size: Number of ranks.
        rank: Whose batches are returned.
    """
    visible = np.ones(len(table.items), np.bool_)
    plan = plan_epoch(table, visible, tokens_per_batch=tokens_per_batch, batches_per_step=world_size)
    return [micro_batch(table, plan, step, rank) for step in range(len(plan))]


class HeldOutLoader(FixedLoader):
    """The same batches every time, with ``active`` saying which labels are of the active pool at the present stage.

    Args:
        dataset: Makes the tensors.
        batches: The micro-batches.
        table: The sequences that they are of.
        active: Returns which items are in the active pool now, shape (items,).
    """

    def __init__(
        self, dataset: PackedDataset, batches: Sequence[MicroBatch], table: SequenceTable, active: Callable[[], Mask]
    ) -> None:
        super().__init__(dataset, batches)
        self._table = table
        self._active = active

    def __iter__(self) -> Iterator[Batch]:
        # One more, for the tokens of no item: it is what -1 finds.
        active = np.append(self._active(), False)
        for units, batch in zip(self._batches, super().__iter__(), strict=True):
            batch["active"] = torch.from_numpy(active[token_items(self._table, units)][None])
            yield batch
