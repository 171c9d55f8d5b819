"""Data loaders for batches that are planned already.

They are plain iterables around ``torch.utils.data.DataLoader``, so that Lightning leaves their order alone, what was
trained on is counted by the training loop and not by what was fetched ahead, and iterating draws nothing from the
global random state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from prost_lightning.datamodules.collate import Batch, PackedDataset
from prost_lightning.datamodules.sampler import MicroBatch, SubtaskCurriculumSampler


class FixedLoader:
    """The same batches in the same order, every time.

    Args:
        dataset: Makes the tensors.
        batches: The micro-batches.
    """

    def __init__(self, dataset: PackedDataset, batches: Sequence[MicroBatch]) -> None:
        self._dataset = dataset
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return map(self._dataset.__getitem__, self._batches)


class CurriculumLoader:
    """The batches of a curriculum sampler, from the first one that training has not done yet.

    Args:
        dataset: Makes the tensors.
        sampler: Plans the batches. Lightning finds it under this name and tells it the epoch.
        batches_done: Returns how many batches of the epoch the training loop has done. It is asked when the first batch
            is fetched. The loop counts a batch when it is trained, the sampler when it is handed out; after a crash
            between the two, and with workers that fetch ahead, the loop is right.
        num_workers: Processes that make tensors ahead of training; 0 makes them where they are needed.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        sampler: SubtaskCurriculumSampler,
        batches_done: Callable[[], int],
        num_workers: int = 0,
    ) -> None:
        self.sampler = sampler
        self._dataset = dataset
        self._batches_done = batches_done
        self._num_workers = num_workers

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # Lightning makes an iterator more than once for an epoch; a generator begins only with its first `next`.
        self.sampler.start_at(self._batches_done())
        yield from DataLoader(
            self._dataset,
            batch_size=None,
            sampler=self.sampler,
            num_workers=self._num_workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: the data module saves the sampler's state, since Lightning restores that one earlier.

        Lightning takes a loader that has this method and the next for one that can resume in mid-epoch, and does not
        warn that the order of the data would be lost.
        """
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does nothing; see :meth:`state_dict`."""


def _as_it_is(batch: Any) -> Any:
    return batch
