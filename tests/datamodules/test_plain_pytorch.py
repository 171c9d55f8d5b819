"""The sampler without Lightning: somebody's own training loop."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import DataLoader

from prost_lightning.curriculum import EpochsPerStage, Item, Pool, item_levels
from prost_lightning.datamodules.collate import PackedDataset
from prost_lightning.datamodules.sampler import SubtaskCurriculumSampler
from prost_lightning.datamodules.table import SequenceTable


def train(
    table: SequenceTable, *, stop_after: int | None = None, state: dict[str, int] | None = None
) -> list[set[Item]]:
    """Trains three epochs, or so many batches; returns the items of each batch."""
    torch.manual_seed(0)
    tokens = [
        np.arange(int(end), dtype=np.int32) for end in np.maximum.reduceat(table.turn_end, table.turn_offset[:-1])
    ]
    model = torch.nn.Embedding(200, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    levels, n_stages = item_levels(table.items, "progressive")
    seen = []

    sampler = SubtaskCurriculumSampler(table, levels, tokens_per_batch=100, visible=Pool(replay=0.5))
    if state is not None:
        sampler.load_state_dict(state)
    for epoch in range(sampler.state_dict()["epoch"], 3):
        sampler.set_epoch(epoch)
        sampler.set_stage(EpochsPerStage().stage(epoch, n_stages))
        for batch in DataLoader(PackedDataset(tokens), sampler=sampler, batch_size=None):
            model(batch["input_ids"]).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            seen.append(set(batch["items"]))
            if len(seen) == stop_after:
                train.state = sampler.state_dict()  # type: ignore[attr-defined]
                return seen
    return seen


def test_a_plain_loop_grows_and_resumes(team: SequenceTable) -> None:
    whole = train(team)
    assert {item.position for item in whole[0]} == {1}
    assert set().union(*whole) == {team.items[index] for index in range(len(team.items))}
    half = len(whole) // 2
    assert train(team, stop_after=half) == whole[:half]
    assert train(team, state=train.state) == whole[half:]  # type: ignore[attr-defined]
