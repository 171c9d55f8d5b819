"""Trajectories as a LightningDataModule whose training pool grows sub-task by sub-task."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from typing_extensions import override

from prost_lightning.curriculum import CURRICULA, Curriculum, EpochsPerStage, Item, optimizer_steps
from prost_lightning.datamodules.dataset import Dataset, DroppedTurn, build_dataset, read_successful, split_by_scenario
from prost_lightning.datamodules.loader import CurriculumLoader, FixedLoader
from prost_lightning.datamodules.sampler import SubtaskCurriculumSampler, active_units, pack
from prost_lightning.errors import UserError
from prost_lightning.modules.qlora import load_tokenizer
from prost_lightning.trajectory import ROLES, TEAM_ROLES, Role


class Preparation(Protocol):
    """Makes the trajectory file, and completes it where it was made in part."""

    def run(self, trajectories: Path) -> None:
        """Writes what is missing of the file; called at each start, so it does nothing where the file is complete.

        Args:
            trajectories: Path of the JSONL file.
        """


class SubtaskDataModule(LightningDataModule):
    """Trains roles on trajectories, one more sub-task at a time.

    At each stage the labels are on the assistant messages of the sub-tasks that are visible so far; a conversation is
    cut after its last visible one and packed with others of its role. The stage advances when an epoch ends, which is
    the work of the callback :class:`~prost_lightning.callbacks.subtask_curriculum.SubtaskCurriculum`.

    The sampler owns stage, epoch and place in the epoch; they are saved in the checkpoint as this data module's state,
    which Lightning restores before it asks for a loader. So a killed run goes on with the next batch in the same order.

    Args:
        trajectories: JSONL file of episodes. Unsuccessful ones are left out.
        base_model: Model whose tokenizer and chat template are used: a built-in name, a local path or a hub id.
        roles: Roles to train.
        curriculum: ``progressive`` starts with each trajectory's first sub-task and adds the following ones;
            ``reverse`` starts with the last; ``random`` adds them in a random order; ``standard`` is fine-tuning
            without a curriculum, all sub-tasks from the start.
        n_stages: Stages of the curriculum. By default as many as the longest trajectory has sub-tasks; with fewer, each
            stage adds several sub-tasks.
        epochs_per_stage: Epochs that each stage lasts; the last one lasts until training ends.
        tokens_per_batch: Most tokens in a packed batch. A longer sequence is a batch of its own.
        max_tokens: Most tokens of context and turn together; a turn that ends beyond is dropped and counted.
        max_dropped_share: Share of dropped turns, 0 to 1, above which setup fails.
        val_share: Share of scenarios held out for validation, 0 to 1.
        seed: Seed of the shuffling, the split and the random curriculum.
        prepare: Makes the trajectory file, or completes it; by default the file has to be there.

    Example:
        >>> data = SubtaskDataModule("trajectories.jsonl", curriculum="progressive")  # doctest: +SKIP
        >>> trainer = Trainer(  # doctest: +SKIP
        ...     max_epochs=3, reload_dataloaders_every_n_epochs=1, callbacks=[SubtaskCurriculum()]
        ... )
        >>> trainer.fit(module, data)  # doctest: +SKIP
    """

    def __init__(
        self,
        trajectories: str | Path,
        base_model: str | Path = "smollm2-135m-instruct",
        roles: Sequence[Role] = TEAM_ROLES,
        curriculum: Curriculum = "progressive",
        n_stages: int | None = None,
        epochs_per_stage: int = 1,
        tokens_per_batch: int = 1024,
        max_tokens: int = 2048,
        max_dropped_share: float = 0.02,
        val_share: float = 0.1,
        seed: int = 0,
        prepare: Preparation | None = None,
    ) -> None:
        super().__init__()
        if curriculum not in CURRICULA:
            raise UserError(f"data.curriculum is {curriculum!r}; choose one of {', '.join(CURRICULA)}.")
        if not roles or set(roles) - set(ROLES):
            raise UserError(f"data.roles is {list(roles)}; name at least one of {', '.join(ROLES)}.")
        for name, number in (
            ("epochs_per_stage", epochs_per_stage),
            ("tokens_per_batch", tokens_per_batch),
            ("max_tokens", max_tokens),
        ):
            if number < 1:
                raise UserError(f"data.{name} is {number}; it must be at least 1.")
        for name, share in (("max_dropped_share", max_dropped_share), ("val_share", val_share)):
            if not 0 <= share < 1:
                raise UserError(f"data.{name} is {share}; it must be at least 0 and below 1.")
        self.trajectories = Path(trajectories)
        self.base_model = base_model
        self.roles = tuple(roles)
        self.curriculum = curriculum
        self.growth = EpochsPerStage(epochs_per_stage)
        self.tokens_per_batch = tokens_per_batch
        self.max_tokens = max_tokens
        self.max_dropped_share = max_dropped_share
        self.val_share = val_share
        self.seed = seed
        self._n_stages = n_stages
        self._prepare = prepare
        self._sampler: SubtaskCurriculumSampler | None = None
        self._validation = FixedLoader([])

    # --- data -----------------------------------------------------------------------------------------------------

    @override
    def prepare_data(self) -> None:
        # Also where the file exists: a collection that was killed has left a part of it.
        if self._prepare is not None:
            self._prepare.run(self.trajectories)

    @override
    def setup(self, stage: str) -> None:
        if self._sampler is not None:
            return
        trajectories, failed = read_successful(self.trajectories)
        training, validation = split_by_scenario(trajectories, self.val_share, self.seed)
        tokenizer = load_tokenizer(self.base_model)
        datasets = [
            build_dataset(
                part,
                tokenizer,
                roles=self.roles,
                curriculum=self.curriculum if part is training else "standard",
                n_stages=self._n_stages,
                max_tokens=self.max_tokens,
                seed=self.seed,
            )
            for part in (training, validation)
        ]
        self._report(*datasets, trajectories=len(trajectories), failed=failed)
        train_data, validation_data = datasets
        self._sampler = SubtaskCurriculumSampler(
            train_data.sequences,
            n_stages=train_data.n_stages,
            tokens_per_batch=self.tokens_per_batch,
            seed=self.seed,
        )
        units = active_units(validation_data.sequences, validation_data.n_stages)
        self._validation = FixedLoader(pack(units, self.tokens_per_batch))

    def _report(self, train_data: Dataset, validation_data: Dataset, *, trajectories: int, failed: int) -> None:
        """Says what is trained on and what is not; refuses data of which too much is lost."""
        trained, validated = train_data.n_turns, validation_data.n_turns
        dropped = train_data.dropped + validation_data.dropped
        rank_zero_info(
            f"{self.trajectories}: {trained} turns to train on and {validated} to validate on, from {trajectories} "
            f"successful trajectories ({failed} unsuccessful ones left out), {len(dropped)} turns dropped."
        )
        total = trained + validated + len(dropped)
        if total == 0:
            raise UserError(
                f"{self.trajectories}: no turn of {', '.join(self.roles)} to train on; change data.roles or "
                "collect other trajectories."
            )
        if len(dropped) > self.max_dropped_share * total:
            raise UserError(
                f"{self.trajectories}: {len(dropped)} of {total} turns are lost ({_examples(dropped)}), more than "
                f"data.max_dropped_share={self.max_dropped_share}; raise data.max_tokens (now {self.max_tokens}), or "
                "that share."
            )
        if dropped:
            rank_zero_warn(f"{self.trajectories}: {len(dropped)} of {total} turns dropped: {_examples(dropped)}.")
        if trained == 0:
            raise UserError(
                f"{self.trajectories}: no turn is left to train on; lower data.val_share (now {self.val_share})."
            )

    @override
    def train_dataloader(self) -> CurriculumLoader:
        trainer = self.trainer
        assert trainer is not None
        if trainer.reload_dataloaders_every_n_epochs != 1:  # type: ignore[attr-defined]
            raise UserError(
                "trainer.reload_dataloaders_every_n_epochs must be 1, since epochs differ in length; set it in the "
                "trainer section."
            )
        if trainer.world_size > 1:
            raise UserError(
                f"trainer.devices asks for {trainer.world_size} processes, but SubtaskDataModule feeds one only; set "
                "trainer.devices=1."
            )
        sampler = self.sampler
        sampler.set_epoch(trainer.current_epoch)
        scheduled = self._scheduled_stage(trainer.current_epoch)
        if sampler.stage < scheduled:
            rank_zero_warn(
                f"Epoch {trainer.current_epoch} should be at stage {scheduled} of {sampler.n_stages}, but the pool is "
                f"still at stage {sampler.stage}: add the SubtaskCurriculum callback, which grows it."
            )
        # The training loop's batch_idx is that of the batch done last, -1 before the first.
        return CurriculumLoader(sampler, batches_done=lambda: trainer.fit_loop.batch_idx + 1)

    @override
    def test_dataloader(self) -> FixedLoader:
        return self._held_out()

    def _held_out(self) -> FixedLoader:
        if len(self._validation) == 0:
            raise UserError(
                f"data.val_share is {self.val_share}, so no trajectory is held out to measure a loss on; raise it."
            )
        return self._validation

    @override
    def val_dataloader(self) -> FixedLoader:
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.VALIDATING:
            return self._held_out()
        # To hold nothing out while fitting is a choice, about which Lightning need not wonder.
        warnings.filterwarnings("ignore", "Total length of `FixedLoader` across ranks is zero")
        return self._validation

    # --- curriculum -----------------------------------------------------------------------------------------------

    @property
    def sampler(self) -> SubtaskCurriculumSampler:
        """The sampler of the training data; exists after ``setup``."""
        if self._sampler is None:
            raise RuntimeError("SubtaskDataModule.setup() has not been called yet")
        return self._sampler

    @property
    def n_stages(self) -> int:
        """Number of stages of the curriculum."""
        return self.sampler.n_stages

    @property
    def stage(self) -> int:
        """The present stage, from 1."""
        return self.sampler.stage

    def set_stage(self, stage: int) -> None:
        """Makes all sub-tasks up to this stage visible, from the next training loader on.

        Args:
            stage: 1..n_stages.
        """
        self.sampler.set_stage(stage)

    def active_items(self) -> frozenset[Item]:
        """The (trajectory, role, sub-task) items that may be trained on at the present stage."""
        return self.sampler.active_items()

    @property
    def pool_items(self) -> int:
        """Number of active items."""
        return len(self.active_items())

    @property
    def pool_tokens(self) -> int:
        """Tokens that one epoch at the present stage puts through the model."""
        return self.sampler.pool_tokens()

    def _scheduled_stage(self, epoch: int) -> int:
        return self.growth.stage(epoch, self.n_stages)

    def total_optimizer_steps(self) -> int:
        """Counts the optimiser steps of the whole training run, for a learning rate schedule.

        Lightning's ``trainer.estimated_stepping_batches`` takes all epochs to be as long as the first.

        Returns:
            The exact number, with the trainer's gradient accumulation, ``limit_train_batches`` and ``max_steps``.

        Raises:
            UserError: Neither ``trainer.max_epochs`` nor ``trainer.max_steps`` limits the run.
        """
        trainer = self.trainer
        assert trainer is not None
        max_epochs, max_steps, limit = trainer.max_epochs, trainer.max_steps, trainer.limit_train_batches
        if max_epochs is None or max_epochs < 0:
            if max_steps < 0:
                raise UserError(
                    "training has no end, so its learning rate cannot be scheduled; set trainer.max_epochs."
                )
            return max_steps
        lengths = (
            len(self.sampler.batches(stage=self._scheduled_stage(epoch), epoch=epoch)) for epoch in range(max_epochs)
        )
        # An integer limits the number of batches, a float their share.
        limited = (min(n, limit) if isinstance(limit, int) else int(n * limit) for n in lengths)
        steps = optimizer_steps(limited, accumulate_grad_batches=trainer.accumulate_grad_batches)
        return steps if max_steps < 0 else min(steps, max_steps)

    # --- state ----------------------------------------------------------------------------------------------------

    @override
    def state_dict(self) -> dict[str, Any]:
        return self.sampler.state_dict()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Validating or testing a checkpoint on other data is fine; only training has to go on in the same order.
        if self.trainer is None or self.trainer.state.fn == TrainerFn.FITTING:
            self.sampler.load_state_dict(state_dict)


def _examples(dropped: Sequence[DroppedTurn], count: int = 3) -> str:
    """Names the first few dropped turns."""
    named = "; ".join(f"{turn.where} {turn.reason}" for turn in dropped[:count])
    return f"{named}; ..." if len(dropped) > count else named
