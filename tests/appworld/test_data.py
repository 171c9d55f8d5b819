"""Reading worlds without the engine, and unpacking the engine's app code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import prost_lightning
from prost_lightning.appworld.data import (
    SPLITS,
    appworld_directory,
    ensure_unpacked,
    is_unpacked,
    load_script,
    load_task_ids,
    world_name,
)
from prost_lightning.errors import UserError
from prost_lightning.miniworld.recipe import read_note

PACKAGES = str(Path(prost_lightning.__file__).parent.parent)


def test_task_ids_come_in_file_order(mini_world: Path) -> None:
    for split in SPLITS:
        file = mini_world / "data" / "datasets" / f"{split}.txt"
        assert load_task_ids(mini_world, split) == file.read_text().split() != []


def test_every_task_of_a_generated_world_has_a_script(mini_world: Path) -> None:
    for split in SPLITS:
        for task_id in load_task_ids(mini_world, split):
            assert load_script(mini_world, task_id).task_id == task_id


def test_a_missing_world_names_the_command_that_makes_one(tmp_path: Path) -> None:
    for read in (
        lambda: load_task_ids(tmp_path, "dev"),
        lambda: world_name(tmp_path),
        lambda: load_script(tmp_path, "x"),
    ):
        with pytest.raises(UserError, match=f"world build --root {tmp_path}"):
            read()


def test_a_missing_split_names_the_known_ones(mini_world: Path) -> None:
    with pytest.raises(UserError, match="no split 'test'; choose one of: dev, test_challenge, test_normal, train"):
        load_task_ids(mini_world, "test")


def test_a_missing_task_is_named(mini_world: Path) -> None:
    with pytest.raises(UserError, match="no task 0000000_1"):
        load_script(mini_world, "0000000_1")


def test_a_generated_world_is_named_by_seed_and_content(mini_world: Path) -> None:
    note = read_note(mini_world)
    assert note is not None
    assert world_name(mini_world) == f"mini:seed{note.seed}:{note.content}"


def official_world(root: Path) -> Path:
    (root / "data" / "datasets").mkdir(parents=True)
    (root / "data" / "datasets" / "dev.txt").write_text("50e1ac9_1\n")
    (root / "data" / "version.txt").write_text("0.1.0\n")
    (root / "data" / "tasks" / "50e1ac9_1").mkdir(parents=True)
    return root


def test_official_data_is_named_by_its_version_and_has_no_scripts(tmp_path: Path) -> None:
    root = official_world(tmp_path)
    assert world_name(root) == "official:0.1.0"
    with pytest.raises(UserError, match="only generated worlds have"):
        load_script(root, "50e1ac9_1")


def test_a_malformed_script_names_the_file(tmp_path: Path) -> None:
    truth = official_world(tmp_path) / "data" / "tasks" / "50e1ac9_1" / "ground_truth"
    truth.mkdir()
    (truth / "script.json").write_text('{"task_id": 3}')
    with pytest.raises(UserError, match=r"script\.json: malformed script: .*task_id"):
        load_script(tmp_path, "50e1ac9_1")


def test_an_unreadable_note_is_a_clear_error(tmp_path: Path) -> None:
    (official_world(tmp_path) / "data" / "MINI_WORLD.json").write_text("{}")
    with pytest.raises(UserError, match="build the world anew"):
        world_name(tmp_path)


def test_nothing_here_imports_appworld() -> None:
    code = (
        "import sys, prost_lightning.appworld.data, prost_lightning.miniworld.build as build;"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('appworld', 'freezegun')]"
    )
    environment = os.environ | {"PYTHONPATH": PACKAGES}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_the_installed_package_is_unpacked() -> None:
    ensure_unpacked()
    assert is_unpacked()


def test_two_processes_unpack_a_fresh_package_at_the_same_time(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    fresh = packages / "appworld"
    shutil.copytree(appworld_directory(), fresh, ignore=shutil.ignore_patterns("__pycache__"))
    for models in fresh.glob("apps/*/models.py"):
        shutil.rmtree(models.parent)
    environment = os.environ | {
        "PYTHONPATH": f"{packages}{os.pathsep}{PACKAGES}",
        "PROST_LIGHTNING_CACHE": str(tmp_path / "cache"),
        "APPWORLD_CACHE": str(tmp_path / "appworld"),
    }
    code = (
        "from prost_lightning.appworld.data import appworld_directory, ensure_unpacked, is_unpacked\n"
        f"assert str(appworld_directory()) == {str(fresh)!r}\n"
        "ensure_unpacked()\nassert is_unpacked()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert (fresh / "apps" / "spotify" / "apis.py").is_file()


def test_a_package_that_cannot_be_unpacked_is_a_clear_error(tmp_path: Path) -> None:
    package = tmp_path / "packages" / "appworld"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    environment = os.environ | {
        "PYTHONPATH": f"{package.parent}{os.pathsep}{PACKAGES}",
        "PROST_LIGHTNING_CACHE": str(tmp_path / "cache"),
    }
    code = (
        "from prost_lightning.appworld.data import ensure_unpacked\n"
        "from prost_lightning.errors import UserError\n"
        "try:\n    ensure_unpacked()\nexcept UserError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "could not be unpacked" in said.stdout
    assert len(said.stdout.splitlines()) == 1
