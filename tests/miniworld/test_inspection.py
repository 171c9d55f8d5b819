"""What ``world show``, ``world stats`` and ``world verify`` print and find."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from prost_lightning.appworld.data import load_script, load_task_ids
from prost_lightning.errors import UserError
from prost_lightning.miniworld.inspection import show_statistics, show_task, verify_world
from prost_lightning.miniworld.recipe import read_note


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200, file=io.StringIO())


def test_a_task_is_shown_with_its_people_sub_tasks_and_checks(mini_world: Path, console: Console) -> None:
    note = read_note(mini_world)
    assert note is not None
    task_id = note.templates["phone_text_contact"][0]
    show_task(mini_world, task_id, console)
    shown = console.export_text()
    specification = json.loads((mini_world / "data" / "tasks" / task_id / "specs.json").read_text())
    assert specification["supervisor"]["email"] in shown
    assert " about " in shown
    for step in load_script(mini_world, task_id).steps:
        for told in (step.goals[0], step.result, *step.check.calls, *(mistake.kind for mistake in step.mistakes)):
            assert told in shown
    for entry in json.loads((mini_world / "data" / "tasks" / task_id / "ground_truth" / "test_data.json").read_text()):
        assert entry["requirement"] in shown


def test_statistics_count_every_task_and_are_drawn(mini_world: Path, console: Console, tmp_path: Path) -> None:
    note = read_note(mini_world)
    assert note is not None
    show_statistics(mini_world, console, lambda text: len(text.split()), tmp_path / "plots" / "lengths.png")
    rows = {line.split()[1]: line.split() for line in console.export_text().splitlines() if len(line.split()) > 2}
    for name in note.templates:
        assert name in rows
    size = [str(number) for number in (note.recipe.size.train, note.recipe.size.dev, note.recipe.size.test_normal)]
    assert set(size) <= set(rows[str(len(note.templates))])
    assert (tmp_path / "plots" / "lengths.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_verification_finds_a_task_that_was_tampered_with(mini_world: Path, tmp_path: Path) -> None:
    assert verify_world(mini_world, split="dev", progress=False) == []
    shutil.copytree(mini_world / "data", tmp_path / "data")
    task_id = load_task_ids(tmp_path, "dev")[0]
    path = tmp_path / "data" / "tasks" / task_id / "ground_truth" / "script.json"
    script = json.loads(path.read_text())
    script["steps"][-1]["result"] = "something else"
    path.write_text(json.dumps(script))
    (fault,) = verify_world(tmp_path, split="dev", progress=False)
    assert fault.startswith(f"{task_id}: {task_id} (")


def test_a_place_without_a_world_is_a_clear_error(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match="holds no generated world"):
        show_statistics(tmp_path, console, len, None)
