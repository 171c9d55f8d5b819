from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prost_lightning.curriculum import Item, ItemTable
from prost_lightning.curriculum.losses import read_item_losses, write_item_losses
from prost_lightning.errors import UserError


@pytest.fixture
def items() -> ItemTable:
    ones = np.ones(3, np.int32)
    return ItemTable(
        trajectory=np.array([0, 0, 4], np.int32),
        role=np.array([1, 2, 1], np.int8),
        position=np.array([1, 1, 2], np.int32),
        n_sub_tasks=ones,
        tokens=ones,
        difficulty=ones.astype(np.int8),
        kind=ones,
        app=ones,
    )


def test_what_is_written_is_read_in_the_order_of_the_items(items: ItemTable, tmp_path: Path) -> None:
    file = tmp_path / "losses.jsonl"
    further = [(Item(9, "single", 1), 9.0)]
    write_item_losses(file, further + [(items[index], index / 2) for index in (2, 0, 1)])
    assert read_item_losses(file, items).tolist() == [0.0, 0.5, 1.0]


def test_losses_that_cannot_be_used_are_named(items: ItemTable, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file of item losses"):
        read_item_losses(tmp_path / "missing.jsonl", items)
    file = tmp_path / "losses.jsonl"
    write_item_losses(file, [(items[0], 1.0)])
    with pytest.raises(UserError, match="2 of 3 items have no loss, as trajectory 0 critic sub-task 1"):
        read_item_losses(file, items)
    file.write_text('{"trajectory": 0}\n')
    with pytest.raises(UserError, match=r"losses\.jsonl:1: malformed item loss"):
        read_item_losses(file, items)
