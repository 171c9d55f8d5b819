"""Entry of a subprocess that verifies a finished world again: ``python -m prost_lightning.miniworld.reverify``.

It runs below the world's APPWORLD_ROOT, imports ``appworld``, and reports each task as a JSON line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec
from appworld import AppWorld

from prost_lightning.appworld.namespaces import die_with_parent
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.engine_speed import import_apps
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.recipe import read_note
from prost_lightning.miniworld.script import Script
from prost_lightning.miniworld.sharing_out import share_out
from prost_lightning.miniworld.verification import VerificationError, complete_call, neighbours, verify

_EXPERIMENT = "prost-lightning-verify"


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


def check_generated(task: Path, supervisors: tuple[Person, ...]) -> str | None:
    """Plays a generated task in all the ways in which its build did.

    Args:
        task: The task's directory.
        supervisors: The persons of the world.

    Returns:
        What is wrong, None where all is right.
    """
    script = msgspec.json.decode((task / "ground_truth" / "script.json").read_bytes(), type=Script)
    apps = tuple(json.loads((task / "ground_truth" / "required_apps.json").read_text()))
    try:
        verify(script, apps, neighbours(_owner(task), supervisors))
    except VerificationError as error:
        return str(error)
    return None


def _owner(task: Path) -> str:
    return str(json.loads((task / "specs.json").read_text())["supervisor"]["email"])


def main() -> None:
    """Verifies the tasks whose ids come as arguments."""
    die_with_parent()
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    root = Path(os.environ["APPWORLD_ROOT"])
    import_apps()
    note = read_note(root)
    supervisors = make_contents(note.recipe.seed, note.recipe.supervisors).supervisors if note else ()
    tasks = root / "data" / "tasks"

    def check(task_id: str) -> dict[str, object]:
        if note is not None:
            return {"task_id": task_id, "fault": check_generated(tasks / task_id, supervisors)}
        if not (tasks / task_id / "ground_truth" / "compiled_solution.py").is_file():
            return {"task_id": task_id, "skipped": True}
        return {"task_id": task_id, "fault": check_official(task_id)}

    # By person, since tasks of one person mostly read the same.
    for told in share_out(check, sorted(sys.argv[1:], key=lambda task_id: _owner(tasks / task_id))):
        print(json.dumps(told), file=channel, flush=True)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
