"""A world's data on disk, read without importing ``appworld`` (which would freeze this process's clock)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

import msgspec
from filelock import FileLock

from prost_lightning.cache import cache_root
from prost_lightning.errors import UserError
from prost_lightning.miniworld.fingerprint import data_fingerprint
from prost_lightning.miniworld.recipe import read_note
from prost_lightning.miniworld.script import Script

Split = Literal["train", "dev", "test_normal", "test_challenge"]
SPLITS: tuple[Split, ...] = get_args(Split)

# Every app's code is unpacked in this order, so a package whose unpacking was interrupted misses some of these.
_APPS = (
    "admin", "amazon", "api_docs", "file_system", "gmail", "phone",
    "simple_note", "splitwise", "spotify", "supervisor", "todoist", "venmo",
)  # fmt: skip
_UNPACK_SECONDS = 300


def appworld_directory() -> Path:
    """Directory of the installed ``appworld`` package, found without importing it.

    Raises:
        UserError: The package is not installed.
    """
    spec = importlib.util.find_spec("appworld")
    if spec is None or spec.origin is None:
        raise UserError("The package appworld is not installed in this Python; run `pip install prost-lightning`.")
    return Path(spec.origin).parent


def is_unpacked() -> bool:
    """Whether the app code that the ``appworld`` package ships encrypted is there in full."""
    apps = appworld_directory() / "apps"
    return all((apps / app / name).is_file() for app in _APPS for name in ("apis.py", "models.py"))


def ensure_unpacked() -> None:
    """Unpacks AppWorld's app code once, safely when several processes start at the same time.

    Raises:
        UserError: It could not be unpacked, for instance because the installation is read-only.
    """
    if is_unpacked():
        return
    cache_root().mkdir(parents=True, exist_ok=True)
    with FileLock(cache_root() / "appworld-unpack.lock"):
        if is_unpacked():
            return
        command = [sys.executable, "-c", "from appworld.install import install_package; install_package()"]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=_UNPACK_SECONDS, check=False)
        if finished.returncode != 0 or not is_unpacked():
            last_line = (finished.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(
                f"{appworld_directory()}: AppWorld's app code could not be unpacked ({last_line}); "
                f"run `{Path(sys.executable).name} -m appworld.cli install` with write access to that directory."
            )


def load_task_ids(root: Path, split: str) -> list[str]:
    """Reads the task ids of a split.

    Args:
        root: The world's root, the directory that holds ``data``.
        split: ``train``, ``dev``, ``test_normal`` or ``test_challenge``.

    Returns:
        Task ids in file order; a generated world's file goes round the templates, scenario by scenario.

    Raises:
        UserError: There is no world, or no such split in it.
    """
    _require_world(root)
    path = root / "data" / "datasets" / f"{split}.txt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.txt")))
        raise UserError(f"{path}: this world has no split {split!r}; choose one of: {known}.")
    return path.read_text().split()


def world_name(root: Path) -> str:
    """Names a world, for every figure that comes out of it.

    Args:
        root: The world's root.

    Returns:
        ``mini:seed7:1a2b3c4d`` (seed and content fingerprint) or ``official:0.1.0`` (version of the data).

    Raises:
        UserError: There is no world.
    """
    _require_world(root)
    note = read_note(root)
    if note is not None:
        return f"mini:seed{note.seed}:{note.content}"
    version = root / "data" / "version.txt"
    return (
        f"official:{version.read_text().strip() if version.is_file() else data_fingerprint(root / 'data' / 'datasets')}"
    )


def load_script(root: Path, task_id: str) -> Script:
    """Reads a task's solution in sub-tasks, which only generated worlds have.

    Args:
        root: The world's root.
        task_id: The task.

    Returns:
        The script.

    Raises:
        UserError: There is no world, no such task, or the task has no script.
    """
    _require_world(root)
    task = root / "data" / "tasks" / task_id
    if not task.is_dir():
        raise UserError(f"{task}: this world has no task {task_id}; its ids are in {root / 'data' / 'datasets'}.")
    path = task / "ground_truth" / "script.json"
    if not path.is_file():
        raise UserError(
            f"{path}: the task has no script; only generated worlds have, so use another policy than oracle."
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Script)
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: malformed script: {error}; build the world anew.") from error


def _require_world(root: Path) -> None:
    if not (root / "data" / "datasets").is_dir():
        raise UserError(f"{root}: no world here; make one with `python -m prost_lightning world build --root {root}`.")
