"""Measured losses of items, in a file: what the ``loss`` ordering goes by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from prost_lightning.curriculum.items import Item, ItemTable
from prost_lightning.errors import UserError
from prost_lightning.trajectory import ROLES, Role


class ItemLoss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the file.

    Attributes:
        trajectory: Index of the trajectory in its file, from 0.
        role: Who speaks.
        position: Place of the sub-task in its trajectory, from 1.
        loss: Mean cross-entropy of the item's tokens, in nats.
    """

    trajectory: int
    role: Role
    position: int
    loss: float


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ItemLoss)


def write_item_losses(path: str | Path, losses: Iterable[tuple[Item, float]]) -> None:
    """Writes a JSONL file atomically, one :class:`ItemLoss` a line.

    Args:
        path: The file; an earlier one is replaced.
        losses: Items, each with its loss.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    with temporary.open("wb") as file:
        for item, loss in losses:
            file.write(_encoder.encode(ItemLoss(*item, loss)) + b"\n")
    temporary.replace(path)


def read_item_losses(path: str | Path, items: ItemTable) -> NDArray[np.float64]:
    """Reads the losses of the given items; further items in the file are passed over.

    Args:
        path: A file that :func:`write_item_losses` wrote.
        items: The items.

    Returns:
        Their losses, shape (items,).

    Raises:
        UserError: The file is missing or malformed, or lacks an item.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of item losses; write one with write_item_losses (docs/curriculum.md).")
    found: dict[tuple[int, Role, int], float] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                entry = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise UserError(f"{path}:{number}: malformed item loss: {error}; measure the losses again.") from error
            found[entry.trajectory, entry.role, entry.position] = entry.loss
    keys = zip(items.trajectory.tolist(), (ROLES[code] for code in items.role), items.position.tolist(), strict=True)
    losses = np.array([found.get(key, np.nan) for key in keys])
    missing = np.flatnonzero(np.isnan(losses))
    if len(missing):
        item = items[int(missing[0])]
        raise UserError(
            f"{path}: {len(missing)} of {len(items)} items have no loss, as trajectory {item.trajectory} {item.role} "
            f"sub-task {item.position}; measure the losses again with these trajectories and roles."
        )
    return losses
