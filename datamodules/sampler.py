"""Which conversations make up each batch of an epoch, at each stage of the curriculum."""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import Sampler
from typing_extensions import override

from prost_lightning.curriculum import Item
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Role


@dataclass(frozen=True)
class Turn:
    """A trained assistant message, placed in the curriculum.

    Attributes:
        start: First of its tokens.
        end: One past the last.
        position: Sub-task that it works on, from 1.
        level: Stage from which on it is trained on.
    """

    start: int
    end: int
    position: int
    level: int


@dataclass(frozen=True, eq=False)
class TrainingSequence:
    """One role's conversation with all the turns that may ever be trained on.

    Attributes:
        trajectory: Index of the trajectory in its file.
        role: Who speaks.
        input_ids: Tokens of the whole conversation, shape (T,), int64.
        turns: In order; at least one.
    """

    trajectory: int
    role: Role
    input_ids: torch.Tensor
    turns: tuple[Turn, ...]


@dataclass(frozen=True, eq=False)
class TrainingUnit:
    """A conversation as it is trained on at one stage: labels on its active turns, cut after the last of them.

    Attributes:
        sequence: The conversation.
        turns: Its active turns, at least one.
    """

    sequence: TrainingSequence
    turns: tuple[Turn, ...]

    @property
    def length(self) -> int:
        """Tokens up to the end of the last active turn."""
        return self.turns[-1].end

    @property
    def items(self) -> list[Item]:
        """The items that the unit trains, by position."""
        positions = sorted({turn.position for turn in self.turns})
        return [Item(self.sequence.trajectory, self.sequence.role, position) for position in positions]


def active_units(sequences: Sequence[TrainingSequence], stage: int) -> list[TrainingUnit]:
    """Cuts the conversations to what is visible at a stage and leaves out those with nothing visible."""
    active = ((sequence, tuple(turn for turn in sequence.turns if turn.level <= stage)) for sequence in sequences)
    return [TrainingUnit(sequence, turns) for sequence, turns in active if turns]


def pack(units: Sequence[TrainingUnit], tokens_per_batch: int) -> list[list[TrainingUnit]]:
    """Fills batches of one role each: every unit goes where it leaves the least room, else into a new batch.

    Args:
        units: In the order in which they are placed.
        tokens_per_batch: Most tokens in a batch. A longer unit is a batch of its own.

    Returns:
        The batches, in the order in which they were begun.
    """
    batches: list[list[TrainingUnit]] = []
    rooms: dict[Role, list[tuple[int, int]]] = {}  # each role's batches as (tokens left, index), ascending
    for unit in units:
        room = rooms.setdefault(unit.sequence.role, [])
        place = bisect_left(room, (unit.length, 0))
        if place < len(room):
            left, index = room.pop(place)
        else:
            left, index = tokens_per_batch, len(batches)
            batches.append([])
        batches[index].append(unit)
        insort(room, (left - unit.length, index))
    return batches


class SubtaskCurriculumSampler(Sampler[list[TrainingUnit]]):
    """Yields the batches of an epoch: packed units of one role each, the roles interleaved at random.

    What it yields depends only on the sequences, the seed, the stage and the epoch. Its state is those two and how many
    batches of the epoch it has yielded; after :meth:`load_state_dict` the next iteration goes on with the batch after
    those. (A ``DataLoader`` with worker processes draws batches ahead of training; use it without workers, as
    :class:`~prost_lightning.datamodules.subtask_datamodule.SubtaskDataModule` does, if the state is to be exact.)

    Args:
        sequences: The conversations.
        n_stages: Number of stages; levels of turns lie in 1..n_stages.
        tokens_per_batch: Most tokens in a batch; a longer unit is a batch of its own.
        seed: Seed of the shuffling.

    Example:
        >>> sampler = SubtaskCurriculumSampler(sequences, n_stages=3, tokens_per_batch=1024)  # doctest: +SKIP
        >>> sampler.set_stage(2)  # doctest: +SKIP
        >>> batches = list(sampler)  # doctest: +SKIP
    """

    def __init__(
        self, sequences: Sequence[TrainingSequence], *, n_stages: int, tokens_per_batch: int, seed: int = 0
    ) -> None:
        self._sequences = sequences
        self._n_stages = n_stages
        self._tokens_per_batch = tokens_per_batch
        self._seed = seed
        self._stage = 1
        self._epoch = 0
        self._yielded = 0  # batches of this epoch that were handed out
        self._first = 0  # where the next iteration begins
        self._plan: tuple[tuple[int, int], list[list[TrainingUnit]]] | None = None

    @property
    def n_stages(self) -> int:
        """Number of stages of the curriculum."""
        return self._n_stages

    @property
    def stage(self) -> int:
        """The present stage, from 1."""
        return self._stage

    def set_stage(self, stage: int) -> None:
        """Makes all items up to this level visible, from the next iteration on.

        Args:
            stage: 1..n_stages. The present stage is left as it is, batches done included.

        Raises:
            ValueError: There is no such stage.
        """
        if not 1 <= stage <= self._n_stages:
            raise ValueError(f"stage {stage} is outside 1..{self._n_stages}")
        if stage != self._stage:
            self._stage = stage
            self.start_at(0)

    def set_epoch(self, epoch: int) -> None:
        """Gives each epoch its own shuffling; Lightning calls it when an epoch begins.

        Args:
            epoch: Epoch, from 0. The present epoch is left as it is, batches done included.
        """
        if epoch != self._epoch:
            self._epoch = epoch
            self.start_at(0)

    def start_at(self, batch: int) -> None:
        """Lets the next iteration begin with this batch of the epoch, from 0."""
        self._first = self._yielded = batch

    def batches(self, *, stage: int, epoch: int) -> list[list[TrainingUnit]]:
        """Plans all batches of any epoch at any stage; pure.

        Args:
            stage: Stage, from 1.
            epoch: Epoch, from 0.

        Returns:
            The batches in the order in which they are trained on.
        """
        shuffle = random.Random(f"batches {self._seed} {stage} {epoch}").shuffle
        units = active_units(self._sequences, stage)
        shuffle(units)
        batches = pack(units, self._tokens_per_batch)
        shuffle(batches)
        return batches

    def active_items(self) -> frozenset[Item]:
        """The items that may be trained on at the present stage."""
        return frozenset(item for unit in self._active_units() for item in unit.items)

    def pool_tokens(self) -> int:
        """Tokens that one epoch at the present stage puts through the model."""
        return sum(unit.length for unit in self._active_units())

    def _active_units(self) -> list[TrainingUnit]:
        return active_units(self._sequences, self._stage)

    def _present_batches(self) -> list[list[TrainingUnit]]:
        key = self._stage, self._epoch
        if self._plan is None or self._plan[0] != key:
            self._plan = key, self.batches(stage=self._stage, epoch=self._epoch)
        return self._plan[1]

    def __len__(self) -> int:
        """Batches of the whole present epoch, those already done included."""
        return len(self._present_batches())

    @override
    def __iter__(self) -> Iterator[list[TrainingUnit]]:
        batches = self._present_batches()
        first, self._first = self._first, 0
        for index in range(first, len(batches)):
            self._yielded = index + 1
            yield batches[index]

    @cached_property
    def _fingerprint(self) -> str:
        """What the order of batches depends on besides stage and epoch."""
        digest = hashlib.sha256(repr((self._n_stages, self._tokens_per_batch, self._seed)).encode())
        for sequence in self._sequences:
            digest.update(repr((sequence.trajectory, sequence.role, sequence.turns)).encode())
            digest.update(sequence.input_ids.numpy().tobytes())
        return digest.hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """Returns where the sampler stands, with a fingerprint of its data."""
        return {
            "stage": self._stage,
            "epoch": self._epoch,
            "batches_done": self._yielded,
            "fingerprint": self._fingerprint,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where a saved sampler stood.

        Args:
            state_dict: What :meth:`state_dict` returned.

        Raises:
            UserError: The state belongs to other data or other settings, so its place in the epoch means nothing here.
        """
        if state_dict["fingerprint"] != self._fingerprint:
            raise UserError(
                "the checkpoint was made with other trajectories or other data settings (seed, split, curriculum, "
                "token limits), so training cannot go on in order; restore those, or start anew without ckpt_path."
            )
        self._stage = state_dict["stage"]
        self._epoch = state_dict["epoch"]
        self.start_at(state_dict["batches_done"])
