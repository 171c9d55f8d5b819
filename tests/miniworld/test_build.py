"""The finished world on disk: what it holds, that it is made once, whole, and alike each time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

import prost_lightning
from prost_lightning.errors import UserError
from prost_lightning.miniworld.build import Recipe, WorldSize, build_world
from prost_lightning.miniworld.fingerprint import data_fingerprint
from prost_lightning.miniworld.recipe import MINI_WORLD_FILE, WorldNote, read_note

TINY = Recipe(size=WorldSize(3, 0, 0, 0), templates=("spotify_extreme_song",), supervisors=3)


def note_of(root: Path) -> WorldNote:
    note = read_note(root)
    assert note is not None
    return note


def files_of(root: Path) -> dict[Path, bytes]:
    """All files of a world, without what an evaluator's import may have left behind."""
    paths = [path for path in (root / "data").rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    return {path.relative_to(root): path.read_bytes() for path in paths}


def test_the_world_has_appworlds_layout(mini_world: Path) -> None:
    data = mini_world / "data"
    note = note_of(mini_world)
    apps = {path.stem for path in (data / "base_dbs").glob("*.db")}
    assert len(apps) == 12
    assert len(list((data / "api_docs" / "standard").glob("*.json"))) == 11
    task_ids = [task_id for file in (data / "datasets").glob("*.txt") for task_id in file.read_text().split()]
    assert sorted(task_ids) == sorted(path.name for path in (data / "tasks").iterdir())
    assert sorted(task_ids) == sorted(task_id for of_template in note.templates.values() for task_id in of_template)
    for task_id in task_ids:
        assert {path.stem for path in (data / "tasks" / task_id / "dbs").glob("*.jsonl")} == apps
    assert not (mini_world / "experiments").exists()


def test_doing_nothing_fails_a_requirement_of_every_task(mini_world: Path) -> None:
    for path in (mini_world / "data" / "tasks").glob("*/ground_truth/test_data.json"):
        labels = [entry["label"] for entry in json.loads(path.read_text())]
        assert "no_op_fail" in labels, path


def test_the_number_of_calls_is_recorded(mini_world: Path) -> None:
    for truth in (mini_world / "data" / "tasks").glob("*/ground_truth"):
        calls = json.loads((truth / "api_calls.json").read_text())
        assert json.loads((truth / "metadata.json").read_text())["num_api_calls"] == len(calls) > 0


def test_lookups_name_documents_that_exist(mini_world: Path) -> None:
    docs = {
        (path.stem, api)
        for path in (mini_world / "data" / "api_docs" / "standard").glob("*.json")
        for api in json.loads(path.read_text())
    }
    for path in (mini_world / "data" / "tasks").glob("*/ground_truth/script.json"):
        for step in json.loads(path.read_text())["steps"]:
            assert {tuple(lookup) for lookup in step["lookups"]} <= docs


def test_the_note_carries_the_fingerprint_of_the_data(mini_world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    subprocess.run(["cp", "-r", str(mini_world / "data"), str(copy)], check=True)
    (copy / MINI_WORLD_FILE).unlink()
    assert data_fingerprint(copy) == note_of(mini_world).content


def test_a_finished_world_is_returned_at_once(mini_world: Path) -> None:
    note = note_of(mini_world)
    before = (mini_world / "data" / MINI_WORLD_FILE).stat().st_mtime_ns
    start = time.monotonic()
    assert build_world(mini_world, note.recipe) == mini_world
    assert time.monotonic() - start < 2
    assert (mini_world / "data" / MINI_WORLD_FILE).stat().st_mtime_ns == before


def test_another_world_at_the_same_place_is_refused(mini_world: Path) -> None:
    note = note_of(mini_world)
    with pytest.raises(UserError, match=f"seed {note.seed}, asked for {note.seed + 1}"):
        build_world(mini_world, msgspec.structs.replace(note.recipe, seed=note.seed + 1))


def test_foreign_data_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="no generated world"):
        build_world(tmp_path, TINY)
    assert (tmp_path / "data" / "mine.txt").read_text() == "keep"


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_that_looks_finished_and_goes_on_to_the_same_bytes(
    mini_world: Path, tmp_path: Path
) -> None:
    note = note_of(mini_world)
    root = tmp_path / "again"
    (tmp_path / ".again.building-other" / "data").mkdir(parents=True)
    code = (
        "import msgspec, sys; from pathlib import Path; from prost_lightning.miniworld.build import *; "
        "build_world(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Recipe), progress=False)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(prost_lightning.__file__).parent.parent)}
    command = [sys.executable, "-c", code, str(root), msgspec.json.encode(note.recipe).decode()]
    # In the middle of the files that need no engine, then in the middle of the verification.
    for begun in ("data/tasks/*/specs.json", "data/tasks/*/ground_truth/script.json"):
        killed = subprocess.Popen(command, env=environment, cwd=tmp_path)
        deadline = time.monotonic() + 200
        while len(list(tmp_path.glob(f".again.building-*/{begun}"))) < 5:
            assert time.monotonic() < deadline
            assert killed.poll() is None
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert not root.exists()
    scripts = tmp_path.glob(".again.building-*/data/tasks/*/ground_truth/script.json")
    verified = {path: path.stat().st_mtime_ns for path in scripts}
    assert len(verified) < note.recipe.size.total

    went_on = subprocess.Popen(command, env=environment, cwd=tmp_path)
    while went_on.poll() is None:
        # What was verified already is not verified again.
        assert all(path.stat().st_mtime_ns == at for path, at in verified.items() if path.exists())
        time.sleep(1)
    assert went_on.returncode == 0
    assert not list(tmp_path.glob(".again.building-*"))
    first, second = files_of(mini_world), files_of(root)
    assert sorted(second) == sorted(first)
    assert [str(path) for path in first if first[path] != second[path]] == []
