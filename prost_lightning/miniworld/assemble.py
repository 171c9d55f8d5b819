"""Entry of the build's subprocess: ``python -m prost_lightning.miniworld.assemble SEED SIZE`` below APPWORLD_ROOT.

It imports ``appworld``, which freezes the process's clock, and so must never be imported by anything else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from random import Random
from textwrap import indent
from typing import Any

import msgspec
from appworld.apps.api_lib import set_local_date_and_time
from appworld.apps.model_lib import CachedDBHandler
from appworld.common.constants import CANARY_STRING, DB_VERSION

from prost_lightning.appworld.sandbox import die_with_parent
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.databases import (
    NOW,
    build_api_docs,
    build_databases,
    write_task_database,
)
from prost_lightning.miniworld.fingerprint import data_fingerprint, generator_fingerprint
from prost_lightning.miniworld.planning import PlannedTask, plan_tasks
from prost_lightning.miniworld.recipe import MINI_WORLD_FILE, WorldNote, WorldSize
from prost_lightning.miniworld.verification import complete_call, label_requirements, play_script

_WORKERS = min(4, os.cpu_count() or 1)
Report = Callable[[str, int, int], None]
_HEADER = f"# Canary String: {CANARY_STRING}\n"


def assemble(root: Path, seed: int, size: WorldSize, report: Report) -> None:
    """Builds and verifies a world.

    Args:
        root: An empty directory; ``data`` is made in it. It must be the process's ``APPWORLD_ROOT``.
        seed: Seed of the world.
        size: Scenarios a template.
        report: Called with what is being done, steps done and steps in all.
    """
    data = root / "data"
    data.mkdir()
    random = Random(f"{seed}/databases")
    contents = make_contents(seed)
    planned = plan_tasks(contents, seed, size)
    steps = len(planned) + 2
    report("API documents", 0, steps)
    # Rows carry the time of their creation, so the clock stands still while they are made.
    freezer = set_local_date_and_time(NOW.to_datetime())
    api_docs = build_api_docs(data / "api_docs" / "standard")
    report("databases", 1, steps)
    build_databases(contents, api_docs, random, data / "base_dbs")
    (data / "datasets").mkdir()
    for split in size.__struct_fields__:
        task_ids = [task.task_id for task in planned if task.split == split]
        (data / "datasets" / f"{split}.txt").write_text("\n".join(task_ids) + "\n")
    (data / "version.txt").write_text("mini-world\n")
    for task in planned:
        _write_task(data, task)
    report("tasks", 2, steps)
    freezer.stop()
    CachedDBHandler.reset()
    # No thread runs yet, so forking is safe, and it spares each worker the seconds that importing the apps takes.
    with ProcessPoolExecutor(_WORKERS, get_context("fork"), initializer=die_with_parent) as pool:
        verified = [pool.submit(_verify_task, data, task) for task in planned]
        try:
            for number, future in enumerate(as_completed(verified), start=3):
                future.result()
                report("tasks", number, steps)
        except BaseException:
            # A fault, or a caller that is gone: the other tasks are not worth verifying any more.
            pool.shutdown(cancel_futures=True)
            raise
    shutil.rmtree(root / "experiments")
    # Evaluating imports the evaluators, and Python's cache of that carries the time.
    for cache in list(data.rglob("__pycache__")):
        shutil.rmtree(cache)
    templates: dict[str, list[str]] = {}
    for task in planned:
        templates.setdefault(task.template.name, []).append(task.task_id)
    note = WorldNote(
        generator=generator_fingerprint(),
        appworld=version("appworld"),
        seed=seed,
        size=size,
        content=data_fingerprint(data),
        templates=templates,
    )
    _write_json(data / MINI_WORLD_FILE, msgspec.to_builtins(note))


def _write_task(data: Path, task: PlannedTask) -> None:
    """Writes a task's files, those of its ground truth included, except what only the engine can tell."""
    directory = data / "tasks" / task.task_id
    truth = directory / "ground_truth"
    truth.mkdir(parents=True)
    draft, person = task.draft, task.person
    _write_json(
        directory / "specs.json",
        {
            "instruction": draft.instruction,
            "supervisor": {
                "first_name": person.first_name,
                "last_name": person.last_name,
                "email": person.email,
                "phone_number": person.phone_number,
            },
            "datetime": NOW.to_datetime().isoformat(),
            "db_version": DB_VERSION,
            "canary_string": CANARY_STRING,
        },
    )
    write_task_database(data / "base_dbs", directory / "dbs", person, draft.instruction)
    solution = _solution(task)
    (truth / "evaluation.py").write_text(_HEADER + task.template.evaluation)
    (truth / "solution.py").write_text(solution)
    (truth / "compiled_solution.py").write_text(solution)
    (truth / "generator.py").write_text(_HEADER)
    (truth / "script.json").write_bytes(msgspec.json.encode(task.script))
    _write_json(truth / "answer.json", draft.answer)
    _write_json(truth / "public_data.json", draft.public)
    _write_json(truth / "private_data.json", draft.private)
    _write_json(truth / "required_apps.json", list(task.template.apps))
    _write_metadata(truth, task, calls=0)
    _write_json(truth / "test_data.json", None)


def _verify_task(data: Path, task: PlannedTask) -> None:
    """Adds what only the engine can tell, and checks the task.

    Every task is played without mistakes, to see that the right code does not depend on them; the first of a scenario
    is played with all of them before, to see that they are noticed and harmless.
    """
    truth = data / "tasks" / task.task_id / "ground_truth"
    _write_json(truth / "test_data.json", label_requirements(task.task_id))
    if task.task_id.endswith("_1"):
        play_script(task.script, with_mistakes=True)
    calls = play_script(task.script, with_mistakes=False)
    _write_json(truth / "api_calls.json", calls)
    _write_metadata(truth, task, calls=len(calls))


def _write_metadata(truth: Path, task: PlannedTask, *, calls: int) -> None:
    solution = _solution(task)
    _write_json(
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


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1))


def main() -> None:
    """Builds below ``APPWORLD_ROOT`` and reports progress as JSON lines on standard output."""
    die_with_parent()
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the apps print must not mix with the reports

    def report(what: str, done: int, total: int) -> None:
        print(json.dumps({"what": what, "done": done, "total": total}), file=channel, flush=True)

    exit_code = 1
    try:
        size = msgspec.json.decode(sys.argv[2], type=WorldSize)
        assemble(Path(os.environ["APPWORLD_ROOT"]), int(sys.argv[1]), size, report)
        exit_code = 0
    except Exception:
        traceback.print_exc()
    # The interpreter's own exit takes many seconds once appworld is imported.
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
