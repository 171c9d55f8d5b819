"""Looks at a finished world: one task, its statistics, its verification. Imports no engine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from tqdm import tqdm

from prost_lightning.appworld.data import SPLITS, ensure_unpacked, load_script, load_task_ids
from prost_lightning.errors import UserError
from prost_lightning.miniworld.build import subprocess_environment
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.fingerprint import generator_fingerprint
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.recipe import read_note

_TASKS_PER_PROCESS = 1_000
_PRIVATE = "private_data.json"


def show_task(root: Path, task_id: str, console: Console) -> None:
    """Prints a task with its people, sub-tasks, checks and the evaluator's requirements.

    Args:
        root: Root of a generated world.
        task_id: The task.
        console: Where to print.
    """
    script = load_script(root, task_id)
    task = root / "data" / "tasks" / task_id
    specification = json.loads((task / "specs.json").read_text())
    truth = task / "ground_truth"
    apps = json.loads((truth / "required_apps.json").read_text())
    person = specification["supervisor"]
    about = Table.grid(padding=(0, 2))
    about.add_row("instruction", specification["instruction"])
    about.add_row("supervisor", f"{person['first_name']} {person['last_name']}, {person['email']}")
    told = "\n".join(
        [specification["instruction"], *(step.code for step in script.steps), (truth / _PRIVATE).read_text()]
    )
    for other in _people_named(root, told, person["email"]):
        about.add_row("about", f"{other.name}, {other.email}, {other.phone_number}")
    about.add_row("time", specification["datetime"])
    about.add_row("template", f"{script.template}, difficulty {script.difficulty}, {', '.join(apps)}")
    about.add_row("parameters", json.dumps(json.loads((truth / "public_data.json").read_text())))
    about.add_row("answer", repr(script.answer))
    console.print(Panel(about, title=task_id))
    for number, step in enumerate(script.steps, start=1):
        checks = Table.grid(padding=(0, 2))
        checks.add_row("goal", step.goals[0])
        checks.add_row("prints", step.result)
        checks.add_row("must call", ", ".join(step.check.calls) or "-")
        checks.add_row("must report", step.check.value or "-")
        for mistake in step.mistakes:
            checks.add_row("mistake", f"{mistake.kind}: {mistake.reason}")
        code = Syntax(step.code, "python", background_color="default", word_wrap=True)
        console.print(Panel(Group(code, checks), title=f"{number}. {step.kind}", title_align="left"))
    requirements = Table("requirement", "doing nothing")
    for entry in json.loads((truth / "test_data.json").read_text()):
        requirements.add_row(entry["requirement"], "fails" if entry["label"] == "no_op_fail" else "passes")
    console.print(requirements)


def _people_named(root: Path, told: str, supervisor: str) -> list[Person]:
    """The others whom a task's texts name."""
    note = read_note(root)
    people = make_contents(note.recipe.seed, note.recipe.supervisors).people if note else ()
    return [
        other
        for other in people
        if other.email != supervisor and any(mark in told for mark in (other.name, other.email, other.phone_number))
    ]


def show_statistics(root: Path, console: Console, count: Callable[[str], int], plot: Path | None) -> None:
    """Prints a table of a generated world's templates, and draws the lengths of their solutions.

    Args:
        root: Root of a generated world.
        console: Where to print.
        count: Counts the tokens of a text.
        plot: Where the PNG goes; None draws nothing.
    """
    note = read_note(root)
    if note is None:
        raise UserError(f"{root}: holds no generated world; statistics need its scripts.")
    split_of = {task_id: split for split in SPLITS for task_id in load_task_ids(root, split)}
    table = Table("template", "apps", "difficulty", "steps", "tokens", *SPLITS)
    totals: dict[str, int] = defaultdict(int)
    lengths: dict[int, list[int]] = defaultdict(list)
    for name, task_ids in sorted(note.templates.items()):
        scripts = [load_script(root, task_id) for task_id in task_ids]
        apps = json.loads((root / "data" / "tasks" / task_ids[0] / "ground_truth" / "required_apps.json").read_text())
        tokens = [count("\n".join(step.code for step in script.steps)) for script in scripts]
        lengths[scripts[0].difficulty] += tokens
        per_split = [sum(split_of[task_id] == split for task_id in task_ids) for split in SPLITS]
        for split, number in zip(SPLITS, per_split, strict=True):
            totals[split] += number
        steps = f"{mean(len(script.steps) for script in scripts):.1f}"
        table.add_row(
            name, ", ".join(apps), str(scripts[0].difficulty), steps, f"{mean(tokens):.0f}", *map(str, per_split)
        )
    table.add_section()
    table.add_row(f"{len(note.templates)} templates", "", "", "", "", *(str(totals[split]) for split in SPLITS))
    console.print(table)
    if plot is not None:
        _draw(lengths, plot)
        console.print(f"Plot: {plot}")


def verify_world(root: Path, *, split: str | None = None, progress: bool = True) -> list[str]:
    """Verifies the tasks of a world on the engine again, generated or official; the world is not changed.

    Args:
        root: The world's root.
        split: Only this split; by default all there are.
        progress: Show a progress bar.

    Returns:
        What is wrong, a line a task; empty where all is right.

    Raises:
        UserError: There is no world, or it was made by another version of the generator.
        RuntimeError: The engine failed.
    """
    note = read_note(root)
    if note is not None and note.generator != generator_fingerprint():
        raise UserError(f"{root}: made by another version of the generator; build it anew to verify it.")
    splits = [split] if split else [s for s in SPLITS if (root / "data" / "datasets" / f"{s}.txt").is_file()]
    task_ids = [task_id for name in splits or ["train"] for task_id in load_task_ids(root, name)]
    ensure_unpacked()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as directory, tqdm(total=len(task_ids), disable=not progress) as bar:
        # The engine writes beside its data, which stay as they are.
        (Path(directory) / "data").symlink_to((root / "data").absolute())
        for start in range(0, len(task_ids), _TASKS_PER_PROCESS):
            faults += _verify_some(Path(directory), task_ids[start : start + _TASKS_PER_PROCESS], bar)
    return faults


def _verify_some(directory: Path, task_ids: list[str], bar: Any) -> list[str]:
    command = [sys.executable, "-m", "prost_lightning.miniworld.reverify", *task_ids]
    faults = []
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            env=subprocess_environment(directory),
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            bar.update()
            if told.get("fault"):
                faults.append(f"{told['task_id']}: {told['fault']}")
        if process.wait() != 0:
            errors.seek(0)
            raise RuntimeError(f"The engine failed (exit code {process.returncode}):\n{errors.read()[-4000:]}")
    return faults


def _draw(lengths: dict[int, list[int]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    difficulties = sorted(lengths)
    axes.hist(
        [lengths[d] for d in difficulties], bins=20, stacked=True, label=[f"difficulty {d}" for d in difficulties]
    )
    axes.set_xlabel("tokens of a solution's code")
    axes.set_ylabel("tasks")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
