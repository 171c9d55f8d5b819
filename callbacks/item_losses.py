"""Measures the loss of every item, which the curriculum ``loss`` orders them by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override

from prost_lightning.curriculum.items import Integers
from prost_lightning.curriculum.losses import write_item_losses
from prost_lightning.errors import UserError


@runtime_checkable
class GroupLosses(Protocol):
    """What :class:`ItemLosses` asks of a module."""

    def group_losses(self, batch: dict[str, Any], group: torch.Tensor, n_groups: int) -> torch.Tensor:
        """Sums cross-entropies by group; see :meth:`.RoleModule.group_losses`."""


@runtime_checkable
class BatchesWithItems(Protocol):
    """What :class:`ItemLosses` asks of a data module, beside its ``sampler``."""

    def batches_with_items(self) -> Iterator[tuple[Any, Integers]]:
        """All of the training data; see :meth:`.SubtaskDataModule.batches_with_items`."""


class ItemLosses(Callback):
    """Writes the mean loss of each item of the training data when training ends.

    A second run orders by it: ``data.curriculum=loss`` and ``data.losses`` this file. Train the first one briefly, with
    ``standard``, on the same trajectories and split: what it learns last is what is difficult. With
    ``trainer.max_epochs=0`` the losses are those of the base.

    Args:
        path: The file; by default ``<trainer.default_root_dir>/item_losses.jsonl``.

    Raises:
        UserError: At the start of ``fit``, if the module or the data module cannot tell.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        datamodule = getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, GroupLosses) or not isinstance(datamodule, BatchesWithItems):
            raise UserError(
                f"ItemLosses needs a module with group_losses(batch, group, n_groups) and a SubtaskDataModule, not "
                f"{type(pl_module).__name__} and {type(datamodule).__name__}; use those or remove the callback."
            )

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, GroupLosses)
        table = data.sampler.table
        sums = torch.zeros(len(table.items), 2, dtype=torch.float64)  # summed loss and tokens of each item
        was_training = pl_module.training
        pl_module.eval()
        with torch.no_grad():
            for batch, item_of_token in data.batches_with_items():
                items, group = (torch.from_numpy(part) for part in np.unique(item_of_token, return_inverse=True))
                found = pl_module.group_losses(trainer.strategy.batch_to_device(batch), group[None], len(items)).cpu()
                known = items >= 0
                sums[items[known].long()] += found[known]
        pl_module.train(was_training)
        sums = trainer.strategy.reduce(sums.float().to(pl_module.device), reduce_op="sum").cpu()
        if trainer.is_global_zero:
            path = self.path or Path(trainer.default_root_dir) / "item_losses.jsonl"
            means = (sums[:, 0] / sums[:, 1]).tolist()
            write_item_losses(path, ((table.items[index], mean) for index, mean in enumerate(means)))
            rank_zero_info(f"Losses of {len(means)} items: {path}")
