"""Which sequences make up each batch of an epoch, at each stage of the curriculum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import Sampler
from typing_extensions import override

from prost_lightning.curriculum import Item, Pool
from prost_lightning.curriculum.items import Codes, Integers, Mask
from prost_lightning.datamodules.plan import EpochPlan, count_steps, interleave, plan_epoch
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.errors import UserError
from prost_lightning.trajectory import ROLES, Role

Visibility = Callable[[Integers, int, int], Mask]
"""Tells which items are trained on, from their levels, the stage (from 1) and the epoch (from 0)."""

WHOLE_POOL = Pool()


@dataclass(frozen=True)
class TrainingUnit:
    """A sequence as it is trained on at one stage: labels on its active turns, cut after the last of them.

    Attributes:
        sequence: Row of the sequence table.
        row: Row of the token store.
        turns: Start and end of its active turns, at least one.
        items: The items that they belong to, each once.
    """

    sequence: int
    row: int
    turns: tuple[tuple[int, int], ...]
    items: tuple[Item, ...]

    @property
    def length(self) -> int:
        """Tokens up to the end of the last active turn."""
        return self.turns[-1][1]

    @property
    def supervised_tokens(self) -> int:
        """Tokens with a label."""
        return sum(end - start for start, end in self.turns)


@dataclass(frozen=True)
class MicroBatch(Sequence[TrainingUnit]):
    """What goes through the model at once; a sequence of units, so that it can be a ``DataLoader``'s batch index.

    Attributes:
        role: Whose adapter is trained.
        units: Its units; none where the last step of a role has too few for all ranks.
        step_supervised_tokens: Tokens with a label in the whole step: all ranks, the whole accumulation window.
    """

    role: Role
    units: tuple[TrainingUnit, ...]
    step_supervised_tokens: int

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, index: Any) -> Any:
        return self.units[index]


class SubtaskCurriculumSampler(Sampler[MicroBatch]):
    """Yields one rank's micro-batches of an epoch: packed units of one role each, the roles interleaved evenly.

    A step is ``world_size * accumulate_grad_batches`` micro-batches of one role; see :mod:`.plan`. What is yielded
    depends only on the table, the levels, the settings below, the stage and the epoch. Its state is those two and how
    many micro-batches of the epoch it has yielded; after :meth:`load_state_dict` the next iteration goes on with the
    one after those. A ``DataLoader`` with worker processes draws batches ahead of training; say then how many were
    trained, with ``state_dict(batches_done=...)``.

    Args:
        table: The sequences.
        levels: Stage from which on each item is visible, in 1..n_stages, shape (items,).
        n_stages: Number of stages; by default the highest level.
        tokens_per_batch: Most tokens in a micro-batch; a longer unit is one of its own.
        seed: Seed of the shuffling.
        world_size: Number of ranks, which get disjoint micro-batches, equally many each.
        rank: Whose micro-batches are yielded, from 0.
        accumulate_grad_batches: Micro-batches of a rank in one step.
        visible: Which items are trained on at a stage and in an epoch; by default all up to the stage. If it is not a
            function, its ``repr`` must say all of its settings, which are those that a resumed run has to share.

    Attributes:
        table: The sequences.
        levels: The levels.

    Example:
        >>> sampler = SubtaskCurriculumSampler(table, levels, tokens_per_batch=4096)  # doctest: +SKIP
        >>> sampler.set_stage(2)  # doctest: +SKIP
        >>> for batch in DataLoader(PackedDataset(tokens), sampler=sampler, batch_size=None):  # doctest: +SKIP
        ...     step(batch)
    """

    def __init__(
        self,
        table: SequenceTable,
        levels: Integers,
        *,
        n_stages: int | None = None,
        tokens_per_batch: int,
        seed: int = 0,
        world_size: int = 1,
        rank: int = 0,
        accumulate_grad_batches: int = 1,
        visible: Visibility = WHOLE_POOL,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is outside 0..{world_size - 1}")
        self.table = table
        self.levels = levels
        self._n_stages = int(levels.max(initial=1)) if n_stages is None else n_stages
        self._tokens_per_batch = tokens_per_batch
        self._seed = seed
        self._world_size = world_size
        self._rank = rank
        self._accumulate = accumulate_grad_batches
        self._visible = visible
        self._stage = 1
        self._epoch = 0
        self._yielded = 0  # micro-batches of this epoch that were handed out
        self._first = 0  # where the next iteration begins
        self._plan: tuple[tuple[int, int], EpochPlan] | None = None
        self._counts: dict[bytes, dict[Role, int]] = {}

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
        """Lets the next iteration begin with this micro-batch of the rank's epoch, from 0."""
        self._first = self._yielded = batch

    # --- plans ----------------------------------------------------------------------------------------------------

    def plan(self, *, stage: int, epoch: int) -> EpochPlan:
        """Plans all steps of any epoch at any stage, for all ranks; pure.

        Args:
            stage: Stage, from 1.
            epoch: Epoch, from 0.
        """
        return plan_epoch(
            self.table,
            self.visible_items(stage=stage, epoch=epoch),
            tokens_per_batch=self._tokens_per_batch,
            batches_per_step=self._world_size * self._accumulate,
            shuffle=f"batches {self._seed} {stage} {epoch}",
        )

    def visible_items(self, *, stage: int, epoch: int) -> Mask:
        """Which items are trained on in any epoch at any stage, shape (items,)."""
        return self._visible(self.levels, stage, epoch)

    def step_roles(self, *, stage: int, epoch: int) -> Codes:
        """The role of each step of any epoch, an index in ``ROLES``, shape (steps,); cheaper than the whole plan."""
        visible = self.visible_items(stage=stage, epoch=epoch)
        key = hashlib.sha256(np.packbits(visible).data).digest()
        if key not in self._counts:
            self._counts[key] = count_steps(
                self.table,
                visible,
                tokens_per_batch=self._tokens_per_batch,
                batches_per_step=self._world_size * self._accumulate,
            )
        return interleave(self._counts[key])[0]

    def n_batches(self, *, stage: int, epoch: int) -> int:
        """Micro-batches of one rank in any epoch at any stage."""
        return len(self.step_roles(stage=stage, epoch=epoch)) * self._accumulate

    def active_items(self) -> frozenset[Item]:
        """The items that are trained on in the present epoch."""
        return frozenset(self.table.items[index] for index in np.flatnonzero(self._present_plan().visible).tolist())

    @property
    def pool_items(self) -> int:
        """How many items are trained on in the present epoch."""
        return int(np.count_nonzero(self._present_plan().visible))

    @property
    def pool_tokens(self) -> int:
        """Tokens that the present epoch puts through the model, over all ranks."""
        return int(self._present_plan().tokens.sum(dtype=np.int64))

    def _present_plan(self) -> EpochPlan:
        key = self._stage, self._epoch
        if self._plan is None or self._plan[0] != key:
            self._plan = None  # the old one's memory first
            self._plan = key, self.plan(stage=self._stage, epoch=self._epoch)
        return self._plan[1]

    # --- iteration ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Micro-batches of the rank in the whole present epoch, those already done included."""
        return len(self._present_plan()) * self._accumulate

    @override
    def __iter__(self) -> Iterator[MicroBatch]:
        plan = self._present_plan()
        first, self._first = self._first, 0
        for index in range(first, len(plan) * self._accumulate):
            self._yielded = index + 1
            step, window = divmod(index, self._accumulate)
            yield micro_batch(self.table, plan, step, window * self._world_size + self._rank)

    # --- state ----------------------------------------------------------------------------------------------------

    @cached_property
    def _fingerprint(self) -> str:
        """What the order of batches depends on besides stage and epoch."""
        visible = getattr(self._visible, "__qualname__", None) or repr(self._visible)
        settings = (self._n_stages, self._tokens_per_batch, self._seed, self._world_size, self._accumulate, visible)
        digest = hashlib.sha256(repr((self.table.fingerprint, settings)).encode())
        digest.update(np.ascontiguousarray(self.levels).data)
        return digest.hexdigest()

    def state_dict(self, batches_done: int | None = None) -> dict[str, Any]:
        """Returns where the sampler stands, with a fingerprint of its data.

        Args:
            batches_done: Micro-batches of the epoch that were trained on; by default those that were handed out.
        """
        return {
            "stage": self._stage,
            "epoch": self._epoch,
            "batches_done": self._yielded if batches_done is None else batches_done,
            "fingerprint": self._fingerprint,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where a saved sampler stood.

        Args:
            state_dict: What :meth:`state_dict` returned, on any rank.

        Raises:
            UserError: The state belongs to other data or other settings, so its place in the epoch means nothing here.
        """
        if state_dict["fingerprint"] != self._fingerprint:
            raise UserError(
                "the checkpoint was made with other trajectories or other data settings (seed, split, curriculum, "
                "token limits, number of devices, accumulate_grad_batches), so training cannot go on in order; restore "
                "those, or start anew without ckpt_path."
            )
        self._stage = state_dict["stage"]
        self._epoch = state_dict["epoch"]
        self.start_at(state_dict["batches_done"])


def micro_batch(table: SequenceTable, plan: EpochPlan, step: int, place: int) -> MicroBatch:
    """Looks up what one micro-batch of a plan consists of.

    Args:
        table: The sequences that were planned.
        plan: The plan.
        step: Index of the step.
        place: Index of the micro-batch in the step.
    """
    units = []
    for sequence in plan.sequences[plan.start[step, place] : plan.end[step, place]].tolist():
        turns = slice(table.turn_offset[sequence], table.turn_offset[sequence + 1])
        items = table.turn_item[turns]
        active = plan.visible[items]
        spans = zip(table.turn_start[turns][active].tolist(), table.turn_end[turns][active].tolist(), strict=True)
        units.append(
            TrainingUnit(
                sequence=sequence,
                row=int(table.row[sequence]),
                turns=tuple(spans),
                items=tuple(table.items[item] for item in np.unique(items[active]).tolist()),
            )
        )
    return MicroBatch(ROLES[plan.role[step]], tuple(units), plan.supervised_tokens(step))
