"""Trajectories as a LightningDataModule whose training pool grows sub-task by sub-task."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from prost_lightning.cache import cache_root
from prost_lightning.curriculum import CURRICULA, Curriculum, EpochsPerStage, Growth, Item, Mastery, Pool, item_levels
from prost_lightning.curriculum.items import Integers, Mask
from prost_lightning.curriculum.losses import read_item_losses
from prost_lightning.curriculum.sub_tasks import SubTaskFeatures, sub_task_levels
from prost_lightning.datamodules.checks import check_parts, check_trainer
from prost_lightning.datamodules.collate import Batch, PackedDataset
from prost_lightning.datamodules.corpus import Corpus, load_corpus
from prost_lightning.datamodules.dataset import Part, held_out_trajectories, select
from prost_lightning.datamodules.held_out import HeldOutLoader, held_out_levels, token_items, whole_batches
from prost_lightning.datamodules.loader import CurriculumLoader, FixedLoader
from prost_lightning.datamodules.sampler import MicroBatch, SubtaskCurriculumSampler
from prost_lightning.datamodules.step_counts import optimizer_steps
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.errors import UserError
from prost_lightning.modules.qlora import load_tokenizer
from prost_lightning.trajectory import ROLES, TEAM_ROLES, Role, Trajectory


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

    Each optimiser step is of one role, on all devices and in the whole accumulation window; see
    :class:`~prost_lightning.datamodules.collate.Batch` for how a loss counts in it.

    Args:
        trajectories: JSONL file of episodes. Unsuccessful ones are left out.
        base_model: Model whose tokenizer and chat template are used: a built-in name, a local path or a hub id.
        roles: Roles to train.
        curriculum: ``progressive`` starts with each trajectory's first sub-task and adds the following ones;
            ``reverse`` starts with the last; ``random`` adds them in a random order; ``standard`` is fine-tuning
            without a curriculum, all sub-tasks from the start. Others go by what sub-tasks are like; see
            :func:`~prost_lightning.curriculum.item_levels`.
        n_stages: Stages of the curriculum. By default as many as the longest trajectory has sub-tasks (or the ordering
            has distinct values); with fewer, each stage adds several sub-tasks.
        growth: When a stage ends; by default after each epoch. The last one lasts until training ends.
        replay: Share of the sub-tasks of earlier stages that each epoch repeats, 0 to 1.
        window: Stages whose sub-tasks count as new and are all trained on; see
            :class:`~prost_lightning.curriculum.Pool`.
        losses: File of measured losses, for ``curriculum="loss"``.
        tokens_per_batch: Most tokens in a packed batch of one device. A longer sequence is a batch of its own.
        max_tokens: Most tokens of context and turn together; a turn that ends beyond is dropped and counted.
        max_dropped_share: Share of dropped turns, 0 to 1, above which setup fails.
        val_share: Share of scenarios held out for validation, 0 to 1.
        seed: Seed of the shuffling, the split and the random curriculum.
        prepare: Makes the trajectory file, or completes it; by default the file has to be there.
        num_workers: Processes that make tensors ahead of training; 0 makes them in the training process.
        tokenize_processes: Processes that tokenise; by default one, whose tokenizer has threads.
        cache_dir: Where tokens are kept between runs; ``tokens`` in the package's cache by default.

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
        growth: Growth | None = None,
        replay: float = 1.0,
        window: int = 1,
        losses: str | Path | None = None,
        tokens_per_batch: int = 1024,
        max_tokens: int = 2048,
        max_dropped_share: float = 0.02,
        val_share: float = 0.1,
        seed: int = 0,
        prepare: Preparation | None = None,
        num_workers: int = 0,
        tokenize_processes: int | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        if curriculum not in CURRICULA:
            raise UserError(f"data.curriculum is {curriculum!r}; choose one of {', '.join(CURRICULA)}.")
        if not roles or set(roles) - set(ROLES):
            raise UserError(f"data.roles is {list(roles)}; name at least one of {', '.join(ROLES)}.")
        for name, number in (
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
        self.growth = growth or EpochsPerStage()
        self.pool = Pool(replay, window, seed=seed)
        self.losses = losses
        self.tokens_per_batch = tokens_per_batch
        self.max_tokens = max_tokens
        self.max_dropped_share = max_dropped_share
        self.val_share = val_share
        self.seed = seed
        self.num_workers = num_workers
        self.tokenize_processes = tokenize_processes
        self.cache_dir = cache_root() / "tokens" if cache_dir is None else Path(cache_dir)
        self._n_stages = n_stages
        self._prepare = prepare
        self._corpus: Corpus | None = None
        self._parts: tuple[Part, Part] | None = None  # training and validation
        self._sampler: SubtaskCurriculumSampler | None = None
        self._layout = 1, 0, 1  # number of ranks, the rank, batches accumulated

    # --- data -----------------------------------------------------------------------------------------------------

    @override
    def prepare_data(self) -> None:
        # Also where the file exists: a collection that was killed has left a part of it.
        if self._prepare is not None:
            self._prepare.run(self.trajectories)
        corpus = self._load_corpus()  # here, so that one process tokenises while the others wait
        if self._parts is None:
            self._corpus = corpus

    def _load_corpus(self) -> Corpus:
        tokenizer = load_tokenizer(self.base_model)
        return load_corpus(self.trajectories, tokenizer, cache_dir=self.cache_dir, processes=self.tokenize_processes)

    @override
    def setup(self, stage: str) -> None:
        if self._parts is None:
            # Where this process has not prepared the data, another one has.
            self._corpus = corpus = self._corpus or self._load_corpus()
            held_out = held_out_trajectories(corpus, self.val_share, self.seed)
            training, validation = (
                select(corpus, rows, roles=self.roles, max_tokens=self.max_tokens) for rows in (~held_out, held_out)
            )
            check_parts(
                corpus,
                training,
                validation,
                source=self.trajectories,
                roles=self.roles,
                max_tokens=self.max_tokens,
                max_dropped_share=self.max_dropped_share,
                val_share=self.val_share,
            )
            self._parts = training, validation
        trainer = self.trainer
        layout = (
            (1, 0, 1) if trainer is None else (trainer.world_size, trainer.global_rank, trainer.accumulate_grad_batches)
        )
        if self._sampler is None or layout != self._layout:
            self._layout = layout
            self._sampler = self._make_sampler()

    def _make_sampler(self) -> SubtaskCurriculumSampler:
        training, _ = self._loaded
        items = training.table.items
        losses = None if self.losses is None else read_item_losses(self.losses, items)
        levels, n_stages = item_levels(items, self.curriculum, n_stages=self._n_stages, seed=self.seed, losses=losses)
        world_size, rank, accumulate = self._layout
        return SubtaskCurriculumSampler(
            training.table,
            levels,
            n_stages=n_stages,
            tokens_per_batch=self.tokens_per_batch,
            seed=self.seed,
            world_size=world_size,
            rank=rank,
            accumulate_grad_batches=accumulate,
            visible=self._visible(n_stages),
        )

    def _visible(self, n_stages: int) -> Pool:
        return replace(self.pool, stops=self.growth.stages(n_stages))

    @override
    def train_dataloader(self) -> CurriculumLoader:
        trainer = self.trainer
        assert trainer is not None
        check_trainer(trainer)
        sampler = self.sampler
        sampler.set_epoch(trainer.current_epoch)
        scheduled = self.growth.stage(trainer.current_epoch, self.n_stages)
        if sampler.stage < scheduled and not isinstance(self.growth, Mastery):
            rank_zero_warn(
                f"Epoch {trainer.current_epoch} should be at stage {scheduled} of {sampler.n_stages}, but the pool is "
                f"still at stage {sampler.stage}: add the SubtaskCurriculum callback, which grows it."
            )
        return CurriculumLoader(
            PackedDataset(self.corpus),
            sampler,
            # The training loop's batch_idx is that of the batch done last, -1 before the first.
            batches_done=lambda: trainer.fit_loop.batch_idx + 1,
            num_workers=self.num_workers,
        )

    @override
    def test_dataloader(self) -> FixedLoader:
        return self._held_out()

    def _held_out(self) -> FixedLoader:
        loader = FixedLoader(PackedDataset(self.corpus), self._whole(self._loaded[1].table))
        if len(loader) == 0:
            raise UserError(
                f"data.val_share is {self.val_share}, so no trajectory is held out to measure a loss on; raise it."
            )
        return loader

    @override
    def val_dataloader(self) -> FixedLoader:
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.VALIDATING:
            return self._held_out()
        # To hold nothing out while fitting is a choice, about which Lightning need not wonder.
        warnings.filterwarnings("ignore", "Total length of `HeldOutLoader` across ranks is zero")
        table = self._loaded[1].table
        levels = held_out_levels(
            self.sampler.table.items,
            table.items,
            self.curriculum,
            n_stages=self._n_stages,
            last=self.n_stages,
            seed=self.seed,
        )

        def active() -> Mask:
            # As in epoch 0, so that a stage is measured on the same items in each of its epochs.
            return self._visible(self.n_stages)(levels, self.stage, 0)

        return HeldOutLoader(PackedDataset(self.corpus), self._whole(table), table, active)

    def batches_with_items(self) -> Iterator[tuple[Batch, Integers]]:
        """This rank's share of the training data with every turn labelled, whatever the stage: to measure it.

        Yields:
            Batches, each with the item of each of its tokens (-1 for none), an index in ``sampler.table.items``.
        """
        table, dataset = self.sampler.table, PackedDataset(self.corpus)
        for units in self._whole(table):
            yield dataset[units], token_items(table, units)

    def _whole(self, table: SequenceTable) -> list[MicroBatch]:
        world_size, rank, _ = self._layout
        return whole_batches(table, tokens_per_batch=self.tokens_per_batch, world_size=world_size, rank=rank)

    @property
    def _loaded(self) -> tuple[Part, Part]:
        if self._parts is None:
            raise RuntimeError("SubtaskDataModule.setup() has not been called yet")
        return self._parts

    @property
    def corpus(self) -> Corpus:
        """The tokens; exists after ``setup``."""
        if self._corpus is None:
            raise RuntimeError("SubtaskDataModule.setup() has not been called yet")
        return self._corpus

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

    def active_sub_tasks(self, episodes: Sequence[Trajectory]) -> Mask:
        """Tells which sub-tasks of an evaluation are of the active pool at the present stage.

        Args:
            episodes: Episodes of any tasks, with their reference solutions' sub-tasks (``outcome.sub_tasks``).

        Returns:
            Whether each of those sub-tasks is like an active item, shape (sub-tasks of all episodes,). As with
            ``val/active_loss``, the pool is that of epoch 0.
        """
        sub_tasks = [
            SubTaskFeatures(
                sub_task.position,
                len(episode.outcome.sub_tasks),
                episode.difficulty,
                sub_task.kind,
                "+".join(sorted(sub_task.apps)),
            )
            for episode in episodes
            for sub_task in episode.outcome.sub_tasks
        ]
        levels = sub_task_levels(self.sampler.table.items, self.sampler.levels, self.curriculum, sub_tasks)
        return self._visible(self.n_stages)(levels, self.stage, 0)

    @property
    def pool_items(self) -> int:
        """Number of active items."""
        return self.sampler.pool_items

    @property
    def pool_tokens(self) -> int:
        """Tokens that one epoch at the present stage puts through the model."""
        return self.sampler.pool_tokens

    def total_optimizer_steps(self) -> int:
        """Counts the optimiser steps of the whole training run, for a learning rate schedule.

        Lightning's ``trainer.estimated_stepping_batches`` takes all epochs to be as long as the first.

        Returns:
            The exact number, with the trainer's gradient accumulation, ``limit_train_batches`` and ``max_steps``; under
            :class:`~prost_lightning.curriculum.Mastery`, where nobody knows it before, the most that it can be.

        Raises:
            UserError: Neither ``trainer.max_epochs`` nor ``trainer.max_steps`` limits the run.
        """
        return sum(self.optimizer_steps_by_role().values())

    def optimizer_steps_by_role(self) -> dict[Role, int]:
        """Counts how many of the steps of :meth:`total_optimizer_steps` train each role.

        Returns:
            The numbers; they add up to the total.

        Raises:
            UserError: See there.
        """
        assert self.trainer is not None
        return optimizer_steps(self.sampler, self.growth, self.trainer, self.roles)

    # --- state ----------------------------------------------------------------------------------------------------

    @override
    def state_dict(self) -> dict[str, Any]:
        state = self.sampler.state_dict()
        if self.trainer is not None:
            # Workers fetch ahead; what counts is what was trained on.
            trained = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
            state["batches_done"] = min(state["batches_done"], trained)
        return state

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Validating or testing a checkpoint on other data is fine; only training has to go on in the same order.
        if self.trainer is None or self.trainer.state.fn == TrainerFn.FITTING:
            self.sampler.load_state_dict(state_dict)
