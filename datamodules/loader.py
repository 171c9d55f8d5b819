"""Data loaders for batches that are planned and tokenised already.

They are plain iterables and not ``torch.utils.data.DataLoader``: there is no work to give to worker processes, what was
handed out is exactly what was trained on, and iterating draws nothing from the global random state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prost_lightning.datamodules.collate import Batch, collate
from prost_lightning.datamodules.sampler import SubtaskCurriculumSampler, TrainingUnit


class FixedLoader:
    """The same batches in the same order, every time.

    Args:
        batches: The units of each batch.
    """

    def __init__(self, batches: Sequence[list[TrainingUnit]]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return map(collate, self._batches)


class CurriculumLoader:
    """The batches of a curriculum sampler, from the first one that training has not done yet.

    Args:
        sampler: Plans the batches. Lightning finds it under this name and tells it the epoch.
        batches_done: Returns how many batches of the epoch the training loop has done. It is asked when the first batch
            is fetched. The loop counts a batch when it is trained, the sampler when it is handed out; after a crash
            between the two, the loop is right.
    """

    def __init__(self, sampler: SubtaskCurriculumSampler, batches_done: Callable[[], int]) -> None:
        self.sampler = sampler
        self._batches_done = batches_done

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # Lightning makes an iterator more than once for an epoch; a generator begins only with its first `next`.
        self.sampler.start_at(self._batches_done())
        yield from map(collate, self.sampler)

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: the data module saves the sampler's state, since Lightning restores that one earlier.

        Lightning takes a loader that has this method and the next for one that can resume in mid-epoch, and does not
        warn that the order of the data would be lost.
        """
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does nothing; see :meth:`state_dict`."""
