"""Builds a generated AppWorld world. Safe to call from the training process: the work is done in a subprocess."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import msgspec
from filelock import FileLock
from tqdm import tqdm

import prost_lightning
from prost_lightning.appworld.data import ensure_unpacked
from prost_lightning.cache import CACHE_VARIABLE
from prost_lightning.errors import UserError
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.fingerprint import generator_fingerprint
from prost_lightning.miniworld.planning import plan_tasks
from prost_lightning.miniworld.recipe import Recipe, WorldNote, WorldSize, read_note

__all__ = ["Recipe", "WorldSize", "build_world"]

# All that the build may know of its surroundings; secrets of the caller stay out.
_ENVIRONMENT_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "APPWORLD_CACHE", "LD_LIBRARY_PATH", CACHE_VARIABLE)


def build_world(root: Path, recipe: Recipe, *, progress: bool = True) -> Path:
    """Builds a world, or returns at once where the same one is already there.

    The world is made in a hidden directory beside its place and moved there only after every task was verified on the
    engine, so a killed build leaves no half world; the same call goes on where that one was. Several processes may ask
    for the same world at the same time.

    Args:
        root: Where the world goes; AppWorld's data lands in ``root/data``.
        recipe: What the world shall be. The same recipe and generator give byte-identical data.
        progress: Show a progress bar.

    Returns:
        The root.

    Raises:
        UserError: Another world is there already, or AppWorld's app code cannot be unpacked.
        RuntimeError: A task failed its verification, which is a fault of the generator.
    """
    root = Path(root).expanduser().absolute()
    if _is_there(root, recipe):
        return root
    # Too large a size shows here already, without the engine.
    plan_tasks(make_contents(recipe.seed, recipe.supervisors), recipe)
    ensure_unpacked()
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        if not _is_there(root, recipe):
            workshop = root.parent / f".{root.name}.building-{_identity(recipe)}"
            # Left by other builds that were killed; nobody else builds here while the lock is held.
            for abandoned in root.parent.glob(f".{root.name}.building-*"):
                if abandoned != workshop:
                    shutil.rmtree(abandoned, ignore_errors=True)
            workshop.mkdir(exist_ok=True)
            try:
                _assemble(workshop, recipe, progress)
            except RuntimeError:
                shutil.rmtree(workshop, ignore_errors=True)
                raise
            root.mkdir(exist_ok=True)
            (workshop / "data").rename(root / "data")
            shutil.rmtree(workshop, ignore_errors=True)
    return root


def _identity(recipe: Recipe) -> str:
    """Fingerprint of all that a world follows from."""
    parts = msgspec.json.encode(recipe) + f"{generator_fingerprint()}/{version('appworld')}".encode()
    return hashlib.sha256(parts).hexdigest()[:12]


def _is_there(root: Path, recipe: Recipe) -> bool:
    note = read_note(root)
    if note is None:
        if (root / "data").exists():
            raise UserError(f"{root / 'data'}: holds data that is no generated world; choose another root.")
        return False
    differences = _differences(note, recipe)
    if differences:
        raise UserError(f"{root}: holds another world ({differences}); choose another root or delete {root / 'data'}.")
    return True


def _differences(note: WorldNote, recipe: Recipe) -> str:
    pairs = {
        **{name: (getattr(note.recipe, name), getattr(recipe, name)) for name in recipe.__struct_fields__},
        "generator": (note.generator, generator_fingerprint()),
        "appworld": (note.appworld, version("appworld")),
    }
    return ", ".join(f"{name} {there}, asked for {asked}" for name, (there, asked) in pairs.items() if there != asked)


def _assemble(workshop: Path, recipe: Recipe, progress: bool) -> None:
    command = [
        sys.executable,
        "-m",
        "prost_lightning.miniworld.assemble",
        msgspec.json.encode(recipe).decode(),
    ]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            env=subprocess_environment(workshop),
            cwd=workshop,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            with tqdm(desc="world", unit="task", disable=not progress) as bar:
                for line in process.stdout:
                    state = json.loads(line)
                    bar.total = state["total"]
                    if bar.n == 0:
                        # What an earlier build did says nothing of how fast this one is.
                        bar.initial = state["done"]
                    bar.set_postfix_str(state["what"], refresh=False)
                    bar.update(state["done"] - bar.n)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.wait() != 0:
            errors.seek(0)
            raise RuntimeError(
                f"The world could not be built (exit code {process.returncode}):\n{errors.read()[-4000:]}"
            )


def subprocess_environment(root: Path) -> dict[str, str]:
    """The environment of a subprocess that runs the engine on a world.

    Args:
        root: The world's root.
    """
    kept = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
    return kept | {
        "APPWORLD_ROOT": str(root),
        # The package may run from a checkout that is not installed.
        "PYTHONPATH": str(Path(prost_lightning.__file__).parent.parent),
        # Sets of strings must iterate alike in every build.
        "PYTHONHASHSEED": "0",
    }
