"""Entry of the build's subprocess: ``python -m prost_lightning.miniworld.assemble RECIPE`` below APPWORLD_ROOT.

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
from textwrap import indent
from typing import Any

import msgspec
from appworld.apps.api_lib import set_local_date_and_time
from appworld.apps.model_lib import CachedDBHandler
from appworld.common.constants import CANARY_STRING, DB_VERSION

from prost_lightning.appworld.namespaces import die_with_parent
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.databases import build_api_docs, build_databases, write_task_database
from prost_lightning.miniworld.dates import NOW
from prost_lightning.miniworld.fingerprint import data_fingerprint, generator_fingerprint
from prost_lightning.miniworld.planning import PlannedTask, plan_tasks
from prost_lightning.miniworld.recipe import MINI_WORLD_FILE, Recipe, WorldNote
from prost_lightning.miniworld.script import Script
from prost_lightning.miniworld.verification import complete_call, label_requirements, play_script

_WORKERS = min(4, os.cpu_count() or 1)
Report = Callable[[str, int, int], None]
_HEADER = f"# Canary String: {CANARY_STRING}\n"


def assemble(root: Path, recipe: Recipe, report: Report) -> None:
    """Builds and verifies a world.

    Args:
        root: An empty directory; ``data`` is made in it. It must be the process's ``APPWORLD_ROOT``.
        recipe: What the world shall be.
        report: Called with what is being done, steps done and steps in all.
    """
    data = root / "data"
    data.mkdir()
    contents = make_contents(recipe.seed, recipe.supervisors)
    planned = plan_tasks(contents, recipe)
    steps = len(planned) + 2
    report("API documents", 0, steps)
    # Rows carry the time of their creation, so the clock stands still while they are made.
    freezer = set_local_date_and_time(NOW)
    api_docs = build_api_docs(data / "api_docs" / "standard")
    report("databases", 1, steps)
    build_databases(contents, api_docs, data / "base_dbs")
    (data / "datasets").mkdir()
    for split in recipe.size.__struct_fields__:
        task_ids = [task.task_id for task in planned if task.split == split]
        (data / "datasets" / f"{split}.txt").write_text("\n".join(task_ids) + "\n")
    (data / "version.txt").write_text("mini-world\n")
    for task in planned:
        _write_task(data, task)
    report("tasks", 2, steps)
    freezer.stop()
    CachedDBHandler.reset()
    # No thread runs yet, so forking is safe, and it spares each worker the seconds that importing the apps takes.
    pool = ProcessPoolExecutor(_WORKERS, get_context("fork"), initializer=die_with_parent)
    verified = [pool.submit(_verify_task, data, task.script, task.template.apps) for task in planned]
    # After a fault the process ends at once, and its workers with it: waiting for them may take for ever.
    for number, future in enumerate(as_completed(verified), start=3):
        future.result()
        report("tasks", number, steps)
    pool.shutdown()
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
        recipe=recipe,
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
    write_task_database(data / "base_dbs", directory / "dbs", person, task.instruction)
    solution = _solution(task.script)
    (truth / "evaluation.py").write_text(_HEADER + task.template.evaluation)
    (truth / "solution.py").write_text(solution)
    (truth / "compiled_solution.py").write_text(solution)
    (truth / "generator.py").write_text(_HEADER)
    (truth / "script.json").write_bytes(msgspec.json.encode(task.script))
    _write_json(truth / "answer.json", draft.answer)
    _write_json(truth / "public_data.json", draft.public)
    _write_json(truth / "private_data.json", {"rows": draft.rows})
    _write_json(truth / "required_apps.json", list(task.template.apps))
    _write_metadata(truth, task.script, task.template.apps, calls=0)
    _write_json(truth / "test_data.json", None)


def _verify_task(data: Path, script: Script, apps: tuple[str, ...]) -> None:
    """Adds what only the engine can tell, and checks the task.

    Every task is played without mistakes, to see that the right code does not depend on them; the first of a scenario
    is played with all of them before, to see that they are noticed and harmless.
    """
    truth = data / "tasks" / script.task_id / "ground_truth"
    _write_json(truth / "test_data.json", label_requirements(script.task_id))
    if script.task_id.endswith("_1"):
        play_script(script, with_mistakes=True)
    calls = play_script(script, with_mistakes=False)
    _write_json(truth / "api_calls.json", calls)
    _write_metadata(truth, script, apps, calls=len(calls))


def _write_metadata(truth: Path, script: Script, apps: tuple[str, ...], *, calls: int) -> None:
    solution = _solution(script)
    _write_json(
        truth / "metadata.json",
        {
            "mode": "full",
            "difficulty": script.difficulty,
            "num_apps": len(apps),
            "num_apis": len(set(re.findall(r"apis\.(\w+\.\w+)", solution))),
            "num_api_calls": calls,
            "num_solution_code_lines": solution.count("\n") - 2,
        },
    )


def _solution(script: Script) -> str:
    codes = [step.code for step in script.steps] + [complete_call(script.answer)]
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
        recipe = msgspec.json.decode(sys.argv[1], type=Recipe)
        assemble(Path(os.environ["APPWORLD_ROOT"]), recipe, report)
        exit_code = 0
    except Exception:
        traceback.print_exc()
    # The interpreter's own exit takes many seconds once appworld is imported.
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
