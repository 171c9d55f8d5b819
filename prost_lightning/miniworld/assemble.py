"""Entry of the build's subprocess: ``python -m prost_lightning.miniworld.assemble RECIPE`` below APPWORLD_ROOT.

It imports ``appworld``, which freezes the process's clock, and so must never be imported by anything else.

A build has two stages, so that a killed one goes on where it was: all files that need no engine are written
(``WRITTEN`` says that they are all there); every task is verified, and what the engine told of it is added.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import msgspec
from appworld.apps.api_lib import set_local_date_and_time

from prost_lightning.appworld.namespaces import die_with_parent
from prost_lightning.miniworld.contents import Contents, make_contents
from prost_lightning.miniworld.databases import TaskDatabases, build_api_docs, build_databases
from prost_lightning.miniworld.dates import NOW
from prost_lightning.miniworld.engine_speed import import_apps
from prost_lightning.miniworld.fingerprint import data_fingerprint, generator_fingerprint
from prost_lightning.miniworld.planning import PlannedTask, plan_tasks
from prost_lightning.miniworld.recipe import MINI_WORLD_FILE, Recipe, WorldNote
from prost_lightning.miniworld.sharing_out import share_out
from prost_lightning.miniworld.task_files import is_verified, write_json, write_task, write_verified
from prost_lightning.miniworld.verification import VerificationError, neighbours, verify

_WRITTEN = "WRITTEN"
Report = Callable[[str, int, int], None]


def assemble(root: Path, recipe: Recipe, report: Report) -> None:
    """Builds and verifies a world, or goes on with one that was begun.

    Args:
        root: A directory that is empty or holds what an earlier call with the same recipe left. ``data`` is made in
            it. It must be the process's ``APPWORLD_ROOT``.
        recipe: What the world shall be.
        report: Called with what is being done, tasks done and tasks in all.

    Raises:
        VerificationError: Tasks do not behave as their scripts say; all of them are named.
    """
    data = root / "data"
    contents = make_contents(recipe.seed, recipe.supervisors)
    planned = plan_tasks(contents, recipe)
    report("databases", 0, len(planned))
    # No thread runs yet, so forking is safe, and it spares each process the seconds that importing the apps takes.
    fork = get_context("fork")
    if (root / _WRITTEN).exists():
        import_apps()
    else:
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        writers = [
            fork.Process(target=_write_databases, args=(data, contents)),
            fork.Process(target=_write_tasks, args=(data, planned, recipe)),
        ]
        for writer in writers:
            writer.start()
        import_apps()
        for writer in writers:
            writer.join()
            if writer.exitcode != 0:
                raise RuntimeError("the files that need no engine could not be written (see above)")
        (root / _WRITTEN).touch()
    missing = [task for task in planned if not is_verified(data, task)]
    done = len(planned) - len(missing)
    report("tasks", done, len(planned))
    faults: list[str] = []

    def verify_task(task: PlannedTask) -> str | None:
        return _verify_task(data, task, contents)

    # By person, since tasks of one person mostly read the same.
    missing.sort(key=lambda task: task.person.index)
    for number, fault in enumerate(share_out(verify_task, missing), start=done + 1):
        if fault is not None:
            faults.append(fault)
        report("tasks", number, len(planned))
    if faults:
        raise VerificationError("\n".join(faults))
    write_json(data / MINI_WORLD_FILE, msgspec.to_builtins(_note(data, planned, recipe)))


def _write_databases(data: Path, contents: Contents) -> None:
    """Writes the databases that all tasks start from, and the API documents."""
    die_with_parent()
    # Rows carry the time of their creation, so the clock stands still while they are made.
    set_local_date_and_time(NOW)
    api_docs = build_api_docs(data / "api_docs" / "standard")
    build_databases(contents, api_docs, data / "base_dbs")


def _write_tasks(data: Path, planned: list[PlannedTask], recipe: Recipe) -> None:
    """Writes the tasks, as far as they need no engine, and the splits."""
    die_with_parent()
    set_local_date_and_time(NOW)
    (data / "datasets").mkdir()
    for split in recipe.size.__struct_fields__:
        task_ids = [task.task_id for task in planned if task.split == split]
        (data / "datasets" / f"{split}.txt").write_text("".join(f"{task_id}\n" for task_id in task_ids))
    (data / "version.txt").write_text("mini-world\n")
    databases = TaskDatabases()
    # By person, since the rows of a person are the same in all of its tasks.
    for task in sorted(planned, key=lambda task: task.person.index):
        write_task(data, task)
        databases.write(data / "tasks" / task.task_id / "dbs", task.person, task.instruction)
    databases.close()


def _verify_task(data: Path, task: PlannedTask, contents: Contents) -> str | None:
    """Verifies a task and adds what the engine told of it, or returns what is wrong."""
    try:
        verified = verify(task.script, task.template.apps, neighbours(task.person.email, contents.supervisors))
    except VerificationError as error:
        return str(error)
    write_verified(data, task, verified)
    return None


def _note(data: Path, planned: list[PlannedTask], recipe: Recipe) -> WorldNote:
    templates: dict[str, list[str]] = {}
    for task in planned:
        templates.setdefault(task.template.name, []).append(task.task_id)
    return WorldNote(
        generator=generator_fingerprint(),
        appworld=version("appworld"),
        recipe=recipe,
        content=data_fingerprint(data),
        templates=templates,
    )


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
