"""Writes a task's files in AppWorld's layout. Imports ``appworld``: for the build's subprocess only."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import msgspec
from appworld.common.constants import CANARY_STRING, DB_VERSION

from prost_lightning.miniworld.dates import NOW
from prost_lightning.miniworld.planning import PlannedTask
from prost_lightning.miniworld.verification import Verified, complete_call

_HEADER = f"# Canary String: {CANARY_STRING}\n"


def write_task(data: Path, task: PlannedTask) -> None:
    """Writes a task's specification and ground truth, except what only the engine can tell."""
    directory = data / "tasks" / task.task_id
    truth = directory / "ground_truth"
    truth.mkdir(parents=True)
    draft, person = task.draft, task.person
    write_json(
        directory / "specs.json",
        {
            "instruction": task.instruction,
            "supervisor": {
                "first_name": person.first_name,
                "last_name": person.last_name,
                "email": person.email,
                "phone_number": person.phone_number,
            },
            "datetime": NOW.isoformat(),
            "db_version": DB_VERSION,
            "canary_string": CANARY_STRING,
        },
    )
    solution = _solution(task)
    (truth / "evaluation.py").write_text(_HEADER + task.template.evaluation)
    (truth / "solution.py").write_text(solution)
    (truth / "compiled_solution.py").write_text(solution)
    (truth / "generator.py").write_text(_HEADER)
    write_json(truth / "answer.json", draft.answer)
    write_json(truth / "public_data.json", draft.public)
    write_json(truth / "private_data.json", {"rows": draft.rows})
    write_json(truth / "required_apps.json", list(task.template.apps))
    _write_metadata(truth, task, calls=0)
    write_json(truth / "test_data.json", None)


def write_verified(data: Path, task: PlannedTask, told: Verified) -> None:
    """Adds what only the engine could tell; afterwards, and never before, the task :func:`is_verified`."""
    truth = data / "tasks" / task.task_id / "ground_truth"
    write_json(truth / "test_data.json", told.labels)
    write_json(truth / "api_calls.json", told.calls)
    _write_metadata(truth, task, calls=len(told.calls))
    script = truth / "script.json"
    part = script.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(told.script))
    part.rename(script)


def is_verified(data: Path, task: PlannedTask) -> bool:
    """Whether all of a task's files are there."""
    return (data / "tasks" / task.task_id / "ground_truth" / "script.json").exists()


def write_json(path: Path, content: Any) -> None:
    """Writes a file in the form that all of a world's JSON files have."""
    path.write_text(json.dumps(content, indent=1))


def _write_metadata(truth: Path, task: PlannedTask, *, calls: int) -> None:
    solution = _solution(task)
    write_json(
        truth / "metadata.json",
        {
            "mode": "full",
            "difficulty": task.template.difficulty,
            "num_apps": len(task.template.apps),
            "num_apis": len(set(re.findall(r"apis\.(\w+\.\w+)", solution))),
            "num_api_calls": calls,
            "num_solution_code_lines": solution.count("\n") - 2,
        },
    )


def _solution(task: PlannedTask) -> str:
    codes = [step.code for step in task.draft.steps] + [complete_call(task.draft.answer)]
    return f"{_HEADER}def solution(apis, requester):\n" + indent("\n".join(codes), "    ") + "\n"
