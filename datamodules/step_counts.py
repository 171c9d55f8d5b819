"""How many optimiser steps a training run has, although its epochs differ in length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
from lightning.pytorch import Trainer

from prost_lightning.curriculum import Growth, Mastery
from prost_lightning.curriculum.items import Codes
from prost_lightning.datamodules.sampler import SubtaskCurriculumSampler
from prost_lightning.errors import UserError
from prost_lightning.trajectory import ROLES, Role


def optimizer_steps(
    sampler: SubtaskCurriculumSampler, growth: Growth, trainer: Trainer, roles: Sequence[Role]
) -> dict[Role, int]:
    """Counts the optimiser steps of each role in a whole run.

    Args:
        sampler: Plans the epochs.
        growth: Says which stage each has. Under :class:`~prost_lightning.curriculum.Mastery`, where nobody knows it
            before, the most steps that it can be are counted.
        trainer: Limits the run: its gradient accumulation, ``limit_train_batches``, ``max_epochs`` and ``max_steps``.
        roles: The roles.

    Returns:
        The exact numbers.

    Raises:
        UserError: Neither ``trainer.max_epochs`` nor ``trainer.max_steps`` limits the run.
    """
    max_epochs, max_steps = trainer.max_epochs, trainer.max_steps
    endless = max_epochs is None or max_epochs < 0
    if endless and max_steps < 0:
        raise UserError("training has no end, so its learning rate cannot be scheduled; set trainer.max_epochs.")
    left = max_steps if max_steps >= 0 else None
    total = np.zeros(len(ROLES), np.int64)
    for epoch in count() if endless else range(max_epochs or 0):
        steps = _steps_of_epoch(sampler, growth, trainer, epoch)[:left]
        total += np.bincount(steps, minlength=len(ROLES))
        if left is not None:
            left -= len(steps)
        if len(steps) == 0 or left == 0:
            break
    return {role: int(total[ROLES.index(role)]) for role in roles}


def _steps_of_epoch(sampler: SubtaskCurriculumSampler, growth: Growth, trainer: Trainer, epoch: int) -> Codes:
    """The role of each optimiser step of an epoch, as far as ``limit_train_batches`` lets it come."""
    limit, accumulate = trainer.limit_train_batches, trainer.accumulate_grad_batches
    earliest = growth.stage(epoch, sampler.n_stages)
    # Under mastery the stage is not known before: the most steps that the epoch can have are planned.
    stages = range(1, earliest + 1) if isinstance(growth, Mastery) else [earliest]
    roles = max((sampler.step_roles(stage=stage, epoch=epoch) for stage in stages), key=len)
    batches = len(roles) * accumulate
    # An integer limits the number of batches, a float their share.
    limited = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    # An epoch's last batch always steps.
    return roles[: -(-limited // accumulate)]
