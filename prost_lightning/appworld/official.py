"""AppWorld's official data: found, checked, downloaded. It is only ever read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from prost_lightning.appworld.data import appworld_directory, ensure_unpacked, load_task_ids
from prost_lightning.cache import cache_root
from prost_lightning.errors import UserError
from prost_lightning.miniworld.recipe import TASKS_PER_SCENARIO, read_note

ROOT_VARIABLE = "APPWORLD_ROOT"
#: What a user calls the official data, instead of a path.
OFFICIAL = "official"

#: Scenarios in each split of the official data, three tasks each.
OFFICIAL_SCENARIOS: Mapping[str, int] = {"train": 30, "dev": 19, "test_normal": 56, "test_challenge": 139}

_DOWNLOAD_SECONDS = 1800
# AppWorld's own downloader. It removes what data there are, so it works in a directory of its own.
_DOWNLOADER = """
import os, sys
from appworld import download, update_root
update_root(sys.argv[1])
download.S3_BASE_URL = sys.argv[2] or download.S3_BASE_URL
download.download_data()
sys.stdout.flush()
os._exit(0)
"""


def official_root() -> Path:
    """Root of the official data: ``$APPWORLD_ROOT``, else a directory of the cache."""
    configured = os.environ.get(ROOT_VARIABLE)
    return Path(configured).expanduser() if configured else cache_root() / "official"


def resolve_world(world: str | Path, *, download: bool = False) -> Path:
    """Finds the world that a user names.

    Args:
        world: ``official``, or the root of any world (a directory called "official" is ``./official`` as a string).
        download: Whether to download official data that are not there.

    Returns:
        Its root. Official data have been checked.

    Raises:
        UserError: The official data are missing, incomplete or of another version, or cannot be downloaded.
    """
    official = str(world) == OFFICIAL
    root = official_root() if official else Path(world)
    if official and download:
        download_official(root)
    elif official or is_official(root):
        check_official(root)
    return root


def is_official(root: Path) -> bool:
    """Whether there is a world that was not generated."""
    return (root / "data" / "datasets").is_dir() and read_note(root) is None


def check_official(root: Path, scenarios: Mapping[str, int] = OFFICIAL_SCENARIOS) -> None:
    """Checks that a root holds official data, whole and of the version that the ``appworld`` package reads.

    Args:
        root: The root; its data lie in ``root/data``.
        scenarios: Scenarios that each split must have.

    Raises:
        UserError: It does not.
    """
    if not (root / "data" / "datasets").is_dir():
        raise UserError(
            f"{root}: no AppWorld data here; run `appworld install` and `appworld download data --root {root}` "
            f"(`python -m prost_lightning world download --root {root}` does both, and so does `evaluate --download`), "
            f"or set {ROOT_VARIABLE} to where they are."
        )
    for split, expected in scenarios.items():
        task_ids = load_task_ids(root, split)
        found = {task_id.rpartition("_")[0] for task_id in task_ids}
        if (len(found), len(set(task_ids))) != (expected, expected * TASKS_PER_SCENARIO):
            raise UserError(
                f"{root / 'data' / 'datasets' / split}.txt: {len(task_ids)} tasks in {len(found)} scenarios, but the "
                f"official split has {expected * TASKS_PER_SCENARIO} in {expected}; download the data anew."
            )
        for task_id in task_ids:
            _check_version(root / "data" / "tasks" / task_id / "specs.json")


def _check_version(specifications: Path) -> None:
    try:
        version = json.loads(specifications.read_bytes())["db_version"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{specifications}: missing or malformed ({error}); download the data anew.") from error
    if version != data_version():
        raise UserError(
            f"{specifications}: data of version {version}, but this appworld package reads {data_version()}; "
            "install the appworld release that belongs to the data, or download the data anew."
        )


def data_version() -> str:
    """Version of the data that the installed ``appworld`` package reads, found without importing it."""
    source = (appworld_directory() / "common" / "constants.py").read_text()
    found = re.search(r'^DB_VERSION = "(.+)"$', source, re.MULTILINE)
    if found is None:
        raise UserError(f"{appworld_directory()}: names no version of the data; install the appworld release we pin.")
    return found[1]


def download_official(
    root: Path, *, base_url: str | None = None, scenarios: Mapping[str, int] = OFFICIAL_SCENARIOS
) -> None:
    """Downloads the official data with AppWorld's own downloader, or checks those that are there already.

    They appear in their place only whole and checked; data that are there are never touched.

    Args:
        root: Where they go: ``root/data``.
        base_url: A mirror of AppWorld's bundles, with a slash at its end; by default AppWorld's own address.
        scenarios: Scenarios that each split must have.

    Raises:
        UserError: There is no network, the bundle is no such data, or something else is there already.
    """
    root = Path(root).absolute()
    if (root / "data").exists():
        check_official(root, scenarios)
        return
    ensure_unpacked()
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".download.lock"):
        if (root / "data").exists():
            return
        with tempfile.TemporaryDirectory(prefix=".downloading-", dir=root) as workshop:
            command = [sys.executable, "-c", _DOWNLOADER, workshop, base_url or ""]
            finished = subprocess.run(
                command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False, cwd=workshop
            )
            if not (Path(workshop) / "data" / "datasets").is_dir():
                said = (finished.stderr or finished.stdout).strip().splitlines() or ["no message"]
                raise UserError(
                    f"{base_url or 'AppWorld'}: the data could not be downloaded ({said[-1]}); check the network, or "
                    f"run `appworld download data --root {root}` where there is one."
                )
            check_official(Path(workshop), scenarios)
            (Path(workshop) / "data").rename(root / "data")
