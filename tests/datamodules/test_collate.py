from __future__ import annotations

import torch

from prost_lightning.curriculum import Item
from prost_lightning.datamodules.collate import IGNORED, collate
from prost_lightning.datamodules.sampler import TrainingSequence, TrainingUnit, Turn


def test_units_lie_behind_one_another_with_labels_on_active_turns_only() -> None:
    turns = (Turn(1, 3, 1, 1), Turn(5, 6, 2, 2), Turn(8, 9, 3, 3))
    long = TrainingSequence(4, "executor", torch.arange(10, 20), turns)
    short = TrainingSequence(7, "executor", torch.arange(50, 55), (Turn(2, 4, 1, 1),))

    batch = collate([TrainingUnit(long, (turns[0], turns[1])), TrainingUnit(short, short.turns)])

    assert batch["role"] == "executor"
    assert batch["input_ids"].tolist() == [[10, 11, 12, 13, 14, 15, 50, 51, 52, 53]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 2, 3]]
    expected = [IGNORED, 11, 12, IGNORED, IGNORED, 15, IGNORED, IGNORED, 52, 53]
    assert batch["labels"].tolist() == [expected]
    assert batch["items"] == [Item(4, "executor", 1), Item(4, "executor", 2), Item(7, "executor", 1)]
    assert batch["input_ids"].dtype == batch["position_ids"].dtype == batch["labels"].dtype == torch.int64
