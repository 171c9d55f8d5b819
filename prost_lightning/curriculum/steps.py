"""Levels and stages one trajectory and one epoch at a time, and how many optimiser steps come of them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Literal, get_args

Curriculum = Literal["progressive", "standard", "reverse", "random"]
CURRICULA: tuple[Curriculum, ...] = get_args(Curriculum)


def sub_task_levels(
    curriculum: Curriculum, n_sub_tasks: int, *, n_stages: int, longest: int, seed: int = 0, trajectory: int = 0
) -> tuple[int, ...]:
    """Gives each sub-task of one trajectory the stage from which on it is visible.

    Args:
        curriculum: ``progressive`` starts with the first sub-task and adds the following ones in order; ``reverse``
            starts with the last; ``random`` adds them in an order drawn for each trajectory; ``standard`` shows all
            from the start.
        n_sub_tasks: Number of sub-tasks of this trajectory.
        n_stages: Number of stages of the whole curriculum.
        longest: Number of sub-tasks of the longest trajectory. With fewer stages than that, each stage adds several
            sub-tasks, spread evenly.
        seed: Seed of the ``random`` order.
        trajectory: Index of the trajectory, so that every trajectory has its own ``random`` order.

    Returns:
        The levels of positions 1..n, each in 1..n_stages.
    """
    order = list(range(1, n_sub_tasks + 1))
    if curriculum == "standard":
        return (1,) * n_sub_tasks
    if curriculum == "reverse":
        order.reverse()
    elif curriculum == "random":
        random.Random(f"order {seed} {trajectory}").shuffle(order)
    # Rounded up, so that with n_stages == longest a sub-task's level is exactly its place in the order.
    return tuple(-(-place * n_stages // longest) for place in order)


def stage_of_epoch(epoch: int, *, n_stages: int, epochs_per_stage: int = 1) -> int:
    """Tells the stage of an epoch: one more every ``epochs_per_stage`` epochs, and the last one for good.

    Args:
        epoch: Epoch, from 0.
        n_stages: Number of stages.
        epochs_per_stage: Epochs that each stage lasts.

    Returns:
        The stage, 1..n_stages.
    """
    return min(n_stages, 1 + epoch // epochs_per_stage)


def optimizer_steps(batches: Iterable[int], *, accumulate_grad_batches: int = 1) -> int:
    """Counts the optimiser steps of a whole training run whose epochs differ in length.

    Args:
        batches: Number of batches of each epoch.
        accumulate_grad_batches: Batches whose gradients are added up for one step; an epoch's last batch always steps.

    Returns:
        The number of steps.
    """
    return sum(-(-length // accumulate_grad_batches) for length in batches)
