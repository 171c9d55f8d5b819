"""Refuses data of which too much is lost, and trainers that cannot train on epochs of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from prost_lightning.datamodules.corpus import Corpus
from prost_lightning.datamodules.dataset import Part
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Role


def check_parts(
    corpus: Corpus,
    training: Part,
    validation: Part,
    *,
    source: Path,
    roles: Sequence[Role],
    max_tokens: int,
    max_dropped_share: float,
    val_share: float,
) -> None:
    """Reports on data that were divided into training and validation.

    Args:
        corpus: All of the data.
        training: What is trained on.
        validation: What is held out.
        source: Where the data come from.
        roles: Roles that are trained.
        max_tokens: Most tokens of context and turn together.
        max_dropped_share: Share of dropped turns, 0 to 1, that is accepted.
        val_share: Share of scenarios that is held out.

    Raises:
        UserError: There is nothing to learn from, or too much is lost.
    """
    failed = np.count_nonzero(corpus.column("role") < 0)
    trajectories = len(corpus.task_ids)
    if trajectories == failed:
        raise UserError(
            f"{source}: none of its {trajectories} trajectories is successful, so there is nothing to learn from; "
            "collect more with `python -m prost_lightning collect`."
        )
    dropped = training.dropped + validation.dropped
    rank_zero_info(
        f"{source}: {training.turns} turns to train on and {validation.turns} to validate on, from "
        f"{trajectories - failed} successful trajectories ({failed} unsuccessful ones left out), {dropped} turns "
        "dropped."
    )
    total = training.turns + validation.turns + dropped
    if total == 0:
        raise UserError(
            f"{source}: no turn of {', '.join(roles)} to train on; change data.roles or collect other trajectories."
        )
    examples = training.examples + validation.examples
    named = "; ".join(examples[:3]) + ("; ..." if dropped > 3 else "")
    if dropped > max_dropped_share * total:
        raise UserError(
            f"{source}: {dropped} of {total} turns are lost ({named}), more than "
            f"data.max_dropped_share={max_dropped_share}; raise data.max_tokens (now {max_tokens}), or that share."
        )
    if dropped:
        rank_zero_warn(f"{source}: {dropped} of {total} turns dropped: {named}.")
    if training.turns == 0:
        raise UserError(f"{source}: no turn is left to train on; lower data.val_share (now {val_share}).")


def check_trainer(trainer: Trainer) -> None:
    """Refuses settings with which epochs would not be trained on as they are planned.

    Args:
        trainer: Is about to train.

    Raises:
        UserError: One sentence says what to set.
    """
    if trainer.reload_dataloaders_every_n_epochs != 1:  # type: ignore[attr-defined]
        raise UserError(
            "trainer.reload_dataloaders_every_n_epochs must be 1, since epochs differ in length; set it in the trainer "
            "section."
        )
    if any(isinstance(callback, GradientAccumulationScheduler) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        raise UserError(
            "trainer.callbacks has a GradientAccumulationScheduler, but SubtaskDataModule plans whole optimiser steps; "
            "set trainer.accumulate_grad_batches instead."
        )
