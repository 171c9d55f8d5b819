"""Entry of a subprocess that verifies a finished world again: ``python -m prost_lightning.miniworld.reverify``.

It runs below the world's APPWORLD_ROOT, imports ``appworld``, and reports each task as a JSON line.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import msgspec
from appworld import AppWorld

from prost_lightning.appworld.namespaces import die_with_parent
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.recipe import read_note
from prost_lightning.miniworld.script import Script
from prost_lightning.miniworld.verification import VerificationError, complete_call, verify

_EXPERIMENT = "prost-lightning-verify"
_WORKERS = min(4, os.cpu_count() or 1)


def check_official(task_id: str) -> str | None:
    """Checks that a task's own solution passes and that doing nothing fails.

    Args:
        task_id: A task of this process's world.

    Returns:
        What is wrong, None where all is right.
    """
    with AppWorld(task_id=task_id, experiment_name=_EXPERIMENT, ground_truth_mode="full") as world:
        world.execute(complete_call(None))
        if world.evaluate().success:
            return "doing nothing passes"
    with AppWorld(task_id=task_id, experiment_name=_EXPERIMENT, ground_truth_mode="full") as world:
        world.execute(f"{world.task.ground_truth.compiled_solution_code}\nsolution(apis, requester)")
        failures = [failure["requirement"] for failure in world.evaluate().failures]
    return f"the solution fails: {'; '.join(failures)}" if failures else None


def check_generated(script: Script, apps: tuple[str, ...], others: list[Person]) -> str | None:
    """Plays a generated task in all the ways in which its build did; returns what is wrong, or None."""
    try:
        verify(script, apps, others)
    except VerificationError as error:
        return str(error)
    return None


def main() -> None:
    """Verifies the tasks whose ids come as arguments."""
    die_with_parent()
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    root = Path(os.environ["APPWORLD_ROOT"])
    note = read_note(root)
    pool = ProcessPoolExecutor(_WORKERS, get_context("fork"), initializer=die_with_parent)
    futures = {}
    supervisors = make_contents(note.recipe.seed, note.recipe.supervisors).supervisors if note else ()
    for task_id in sys.argv[1:]:
        task = root / "data" / "tasks" / task_id
        if note is None:
            if not (task / "ground_truth" / "compiled_solution.py").is_file():
                print(json.dumps({"task_id": task_id, "skipped": True}), file=channel, flush=True)
                continue
            futures[pool.submit(check_official, task_id)] = task_id
            continue
        script = msgspec.json.decode((task / "ground_truth" / "script.json").read_bytes(), type=Script)
        apps = tuple(json.loads((task / "ground_truth" / "required_apps.json").read_text()))
        owner = json.loads((task / "specs.json").read_text())["supervisor"]["email"]
        others = [person for person in supervisors if person.email != owner][:4]
        futures[pool.submit(check_generated, script, apps, others)] = task_id
    for future in as_completed(futures):
        fault = future.result()
        print(json.dumps({"task_id": futures[future], "fault": fault}), file=channel, flush=True)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
