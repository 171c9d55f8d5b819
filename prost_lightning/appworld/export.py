"""A run's episodes in an AppWorld root, where ``appworld evaluate`` and ``appworld pack`` find them."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from prost_lightning.appworld.data import load_task_ids
from prost_lightning.errors import UserError

# AppWorld's leaderboard takes no other names.
_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


def export_experiment(outputs: Path, root: Path, split: str, name: str) -> tuple[Path, int]:
    """Copies an experiment's episodes of a whole split into a world's root. The world's data are only read.

    Args:
        outputs: The experiment's directory, which has ``tasks/``.
        root: Root of the world that it ran in.
        split: The split that was played.
        name: Name of the experiment there; for the leaderboard it must end in ``_`` and the split.

    Returns:
        The new directory, and how many tasks' episodes left no state: for those the task's start state stands, since
        AppWorld judges no task without one. Nothing was done in it, so it fails.

    Raises:
        UserError: The name is taken or none that AppWorld takes, or tasks of the split were not played.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"experiment name {name!r}: AppWorld takes lowercase letters and digits, parted by `_` or `-`.")
    target = root / "experiments" / "outputs" / name
    if target.exists():
        raise UserError(f"{target}: this experiment exists already; choose another name or delete it.")
    task_ids = load_task_ids(root, split)
    missing = [task_id for task_id in task_ids if not (outputs / "tasks" / task_id).is_dir()]
    if missing:
        raise UserError(
            f"{outputs}: {len(missing)} of {len(task_ids)} tasks of {split} were not played (the first: {missing[0]}), "
            "and AppWorld evaluates whole splits only; evaluate without n_tasks."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    stateless = 0
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as workshop:
        for task_id in task_ids:
            episode = Path(workshop) / "experiment" / "tasks" / task_id
            # Symbolic links stay links: an episode could have left one to anything.
            shutil.copytree(outputs / "tasks" / task_id, episode, symlinks=True)
            if not any((episode / "dbs").glob("*.jsonl")):
                shutil.copytree(root / "data" / "tasks" / task_id / "dbs", episode / "dbs", dirs_exist_ok=True)
                stateless += 1
        (Path(workshop) / "experiment").rename(target)
    return target, stateless
