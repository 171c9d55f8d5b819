from __future__ import annotations

import numpy as np

from prost_lightning.curriculum import Item
from prost_lightning.datamodules.collate import IGNORED, PackedDataset
from prost_lightning.datamodules.sampler import MicroBatch, TrainingUnit


def test_units_lie_behind_one_another_with_labels_on_active_turns_only() -> None:
    first, second = Item(4, "executor", 1), Item(4, "executor", 2)
    long = TrainingUnit(0, 0, ((1, 3), (5, 6)), (first, second))
    short = TrainingUnit(1, 1, ((2, 4),), (Item(7, "executor", 1),))
    dataset = PackedDataset([np.arange(10, 20, dtype=np.int32), np.arange(50, 55, dtype=np.int32)])

    batch = dataset[MicroBatch("executor", (long, short), 17)]

    assert batch["role"] == "executor"
    assert batch["input_ids"].tolist() == [[10, 11, 12, 13, 14, 15, 50, 51, 52, 53]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 2, 3]]
    expected = [IGNORED, 11, 12, IGNORED, IGNORED, 15, IGNORED, IGNORED, 52, 53]
    assert batch["labels"].tolist() == [expected]
    assert batch["items"] == [first, second, Item(7, "executor", 1)]
    assert (batch["supervised_tokens"], batch["step_supervised_tokens"]) == (5, 17)


def test_an_empty_micro_batch_is_one_token_without_a_label() -> None:
    batch = PackedDataset([])[MicroBatch("critic", (), 17)]
    assert batch["input_ids"].shape == batch["position_ids"].shape == (1, 1)
    assert batch["labels"].tolist() == [[IGNORED]]
    assert (batch["supervised_tokens"], batch["step_supervised_tokens"], batch["items"]) == (0, 17, [])
