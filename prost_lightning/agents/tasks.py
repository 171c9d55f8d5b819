"""Which tasks of a split to play, and which scenario template each belongs to."""

from __future__ import annotations

from pathlib import Path

from prost_lightning.appworld.data import load_task_ids
from prost_lightning.errors import UserError
from prost_lightning.miniworld.recipe import read_note


def choose_tasks(root: Path, split: str, n_tasks: int | None = None) -> list[str]:
    """Chooses tasks of a split, always the same ones.

    Args:
        root: World root.
        split: AppWorld split.
        n_tasks: How many; None takes all. They are the split's first: whole scenarios, spread over the templates of a
            generated world, since its files go round the templates. With a multiple of 3, scenario goal completion is
            that of whole scenarios.

    Raises:
        UserError: The world or the split is missing, or ``n_tasks`` is below 1.
    """
    if n_tasks is not None and n_tasks < 1:
        raise UserError(f"n_tasks is {n_tasks}; set it to 1 or more, or leave it out to take the whole split.")
    return load_task_ids(root, split)[:n_tasks]


def templates(root: Path) -> dict[str, str]:
    """Scenario template by task id; empty for official worlds, which do not say."""
    note = read_note(root)
    by_template = note.templates if note else {}
    return {task_id: template for template, task_ids in by_template.items() for task_id in task_ids}
