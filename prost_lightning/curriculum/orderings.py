"""In which order a curriculum opens its items: a rule that gives every item a level.

Computed on columns, without a Python object for an item. Which orderings there are is this project's own choice; the
paper's is ``progressive``.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from prost_lightning.curriculum.items import Integers, ItemTable
from prost_lightning.errors import UserError

Curriculum = Literal[
    "progressive", "standard", "reverse", "random", "length", "app", "kind", "difficulty", "frequency", "loss"
]
CURRICULA: tuple[Curriculum, ...] = get_args(Curriculum)


def item_levels(
    items: ItemTable,
    curriculum: Curriculum,
    *,
    n_stages: int | None = None,
    seed: int = 0,
    losses: NDArray[np.floating] | None = None,
) -> tuple[Integers, int]:
    """Gives every item its level: the stage from which on it is trained on.

    By place in the trajectory, all roles of a sub-task together:

    - ``progressive``: the first sub-task first, then the following ones in order.
    - ``reverse``: the last sub-task first.
    - ``random``: an order drawn for each trajectory.

    By what the sub-task is, one level each:

    - ``difficulty``: AppWorld's difficulty of the task, easy first; unknown last.
    - ``kind``: the kind of sub-task, the one with most items first.
    - ``app``: the app, the one with most items first; a sub-task with several apps opens with the last of them.

    By a figure, in levels with equally many items each (or as equal as ties allow):

    - ``length``: the item's tokens, short first, within each role.
    - ``loss``: the item's measured loss, low first, within each role.
    - ``frequency``: how many items share the sub-task's kind and apps, frequent first.

    ``standard`` is fine-tuning without a curriculum: all from the start.

    Args:
        items: The items.
        curriculum: The ordering.
        n_stages: Number of stages. By default as many as there are distinct values (difficulties, kinds, apps), else as
            many as the longest trajectory has sub-tasks. With fewer, each stage opens several, spread evenly.
        seed: Seed of the ``random`` order.
        losses: Measured loss of each item, shape (items,); for ``loss``.

    Returns:
        The levels, shape (items,), and the number of stages: ``standard`` has one whatever is said here, and ties may
        leave fewer than asked for.

    Raises:
        UserError: More stages than there is anything to open, no known difficulty, or no measured losses.
    """
    if curriculum == "standard" or len(items) == 0:
        return np.ones(len(items), np.int32), 1
    longest = int(items.n_sub_tasks.max())
    if curriculum in ("progressive", "reverse", "random"):
        return _spread(_places(items, curriculum, seed), longest, n_stages, "sub-tasks of the longest trajectory")
    if curriculum in ("difficulty", "kind", "app"):
        ranks = {"difficulty": _difficulty_ranks, "kind": _kind_ranks, "app": _app_ranks}[curriculum](items)
        return _spread(ranks, int(ranks.max()), n_stages, f"distinct values of {curriculum}")
    if n_stages is not None and not 1 <= n_stages <= len(items):
        raise UserError(f"data.n_stages is {n_stages}, but there are {len(items)} items; choose 1 to {len(items)}.")
    levels = np.ones(len(items), np.int32)
    scores = _scores(items, curriculum, losses)
    groups = [np.ones(len(items), np.bool_)]
    if curriculum != "frequency":  # roles differ in length and loss as a matter of course
        groups = [items.role == code for code in np.unique(items.role)]
    for group in groups:
        levels[group] = _equal_shares(scores[group], n_stages or longest)
    # Ties can leave a level without items; a stage that opens nothing would be an epoch lost.
    used = np.flatnonzero(np.bincount(levels))
    return (np.searchsorted(used, levels) + 1).astype(np.int32), len(used)


def _spread(ranks: Integers, highest: int, n_stages: int | None, what: str) -> tuple[Integers, int]:
    """Divides ranks 1..highest evenly among the stages."""
    if n_stages is None:
        return ranks, highest
    if not 1 <= n_stages <= highest:
        raise UserError(
            f"data.n_stages is {n_stages}, but there are {highest} {what}; choose 1 to {highest}, or null for all."
        )
    # Rounded up, so that with n_stages == highest a level is exactly its rank.
    return (-(-ranks.astype(np.int64) * n_stages // highest)).astype(np.int32), n_stages


def _places(items: ItemTable, curriculum: Curriculum, seed: int) -> Integers:
    """The place of each item's sub-task in the order in which its trajectory opens, from 1."""
    if curriculum == "progressive":
        return items.position
    if curriculum == "reverse":
        return items.n_sub_tasks - items.position + 1
    # Over all sub-tasks, also those of which no item is left; drawn trajectory by trajectory.
    sub_tasks = np.zeros(int(items.trajectory.max()) + 1, np.int64)
    sub_tasks[items.trajectory] = items.n_sub_tasks
    first = np.cumsum(sub_tasks) - sub_tasks
    owner = np.repeat(np.arange(len(sub_tasks)), sub_tasks)
    order = np.lexsort((np.random.default_rng(seed).random(len(owner)), owner))
    place = np.empty(len(owner), np.int32)
    place[order] = np.arange(len(owner)) - first[owner] + 1
    places: Integers = place[first[items.trajectory] + items.position - 1]
    return places


def _difficulty_ranks(items: ItemTable) -> Integers:
    known = np.unique(items.difficulty[items.difficulty > 0])
    if len(known) == 0:
        raise UserError(
            "data.curriculum is difficulty, but no trajectory says its task's difficulty; choose another ordering, or "
            "collect the trajectories again."
        )
    return (np.where(items.difficulty > 0, np.searchsorted(known, items.difficulty), len(known)) + 1).astype(np.int32)


def _kind_ranks(items: ItemTable) -> Integers:
    return _frequent_first(np.bincount(items.kind, minlength=len(items.kinds)))[items.kind]


def _app_ranks(items: ItemTable) -> Integers:
    together = [tuple(filter(None, names.split("+"))) for names in items.apps]
    single = sorted({app for names in together for app in names})
    counts = np.zeros(len(single), np.int64)
    for names, count in zip(together, np.bincount(items.app, minlength=len(items.apps)).tolist(), strict=True):
        for app in names:
            counts[single.index(app)] += count
    ranks = dict(zip(single, _frequent_first(counts).tolist(), strict=True))
    return np.array([max((ranks[app] for app in names), default=1) for names in together], np.int32)[items.app]


def _frequent_first(counts: NDArray[np.int64]) -> Integers:
    """Rank of each group, from 1: the largest first, ties in order of their index; groups without items are last."""
    ranks = np.empty(len(counts), np.int32)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    return ranks


def _scores(items: ItemTable, curriculum: Curriculum, losses: NDArray[np.floating] | None) -> NDArray[np.generic]:
    """The figure that items are ordered by, ascending."""
    if curriculum == "length":
        return items.tokens
    if curriculum == "frequency":
        both = items.kind.astype(np.int64) * len(items.apps) + items.app
        rarity: NDArray[np.int64] = -np.bincount(both)[both]
        return rarity
    if losses is None:
        raise UserError("data.curriculum is loss, but no losses were measured; name their file in data.losses.")
    if len(losses) != len(items) or not np.isfinite(losses).all():
        raise UserError(
            f"data.losses must hold one finite loss for each of the {len(items)} items; measure them again."
        )
    return losses


def _equal_shares(scores: NDArray[np.generic], n_shares: int) -> Integers:
    """Divides scores into shares of equally many, ascending; equal scores are never divided.

    Returns:
        The share of each, from 1.
    """
    last = [
        max(0, -(-len(scores) * share // n_shares) - 1) for share in range(1, n_shares)
    ]  # of each share but the last
    bounds = np.partition(scores, last)[last] if last else scores[:0]
    return (np.searchsorted(bounds, scores, side="left") + 1).astype(np.int32)
