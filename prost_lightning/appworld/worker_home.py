"""What a worker process finds: a scratch directory, in it the root directory that AppWorld wants, an environment."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import prost_lightning

#: All that a worker inherits of the environment: a secret can only reach it if somebody adds its name here.
_INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


def clean_environment() -> dict[str, str]:
    """What this process's children need of an environment, without places to write to: variables by name."""
    package_parent = str(Path(prost_lightning.__file__).resolve().parent.parent)
    search_path = [package_parent, *(path for path in sys.path if path and Path(path).exists())]
    return {
        **{name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ},
        "HOME": os.devnull,
        "TZ": "UTC",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(search_path)),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
    }


class WorkerHome:
    """The scratch directory of one worker process. It lasts until :meth:`remove`.

    Args:
        root: World root.
        output_dir: Where episodes are saved.
        with_ground_truth: Whether jobs may see the tasks' solutions and tests. Without, they get a copy of the world
            that lacks them.

    Attributes:
        scratch: The directory.
        hidden: Directories that a job must not see even where they lie among Python's own.
        kept: What a job needs besides Python.
    """

    def __init__(self, root: Path, output_dir: Path, *, with_ground_truth: bool) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="prost_lightning-")).resolve()
        appworld_root = self.scratch / "root"
        for directory in ("root", "home"):
            (self.scratch / directory).mkdir()
        (appworld_root / "experiments").symlink_to(output_dir / "experiments")
        self.hidden: list[Path] = []
        self.kept = [appworld_root]
        if with_ground_truth:
            (appworld_root / "data").symlink_to(root / "data")
            self.kept += [root / "data", output_dir / "experiments"]
        else:
            # A copy, not links: what a model's code does to it stays here, and no link leads to the ground truth.
            ignored = shutil.ignore_patterns("ground_truth", "MINI_WORLD.json")
            shutil.copytree(root / "data", appworld_root / "data", ignore=ignored)
            # All of the world: trajectories collected on it, which hold solutions, lie beside its data by default. The
            # data once more, for a root that cannot be hidden because a Python lives in it or it is the root of all.
            self.hidden += [root, root / "data"]

    def environment(self) -> dict[str, str]:
        """The worker's whole environment: its variables by name."""
        home = self.scratch / "home"
        return {
            **clean_environment(),
            "APPWORLD_ROOT": str(self.scratch / "root"),
            "APPWORLD_CACHE": str(home / ".appworld"),
            "HOME": str(home),
            "TMPDIR": str(home),
        }

    def remove(self) -> None:
        """Deletes the directory, as far as the system lets it."""
        shutil.rmtree(self.scratch, ignore_errors=True)
