"""What a build spares the engine changes nothing of what it finds out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# In processes of their own, since what is spared is spared for good.
VERIFY = """
import json, os, sys
from pathlib import Path
import msgspec
from prost_lightning.miniworld import verification
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.planning import plan_tasks
from prost_lightning.miniworld.recipe import read_note

class Unchanged:
    def serve(self, world): pass

if sys.argv[1] == "plain":
    verification.keep_what_stays = lambda: None
    verification._REQUESTS = Unchanged()
    verification.spare_guard = lambda guard: None
    verification._HASHES_AT_START = {}
recipe = read_note(Path(os.environ["APPWORLD_ROOT"])).recipe
contents = make_contents(recipe.seed, recipe.supervisors)
found = []
for task in plan_tasks(contents, recipe)[:12:3]:
    others = verification.neighbours(task.person.email, contents.supervisors)
    *first, last = task.script.steps
    wrong = msgspec.structs.replace(task.script, steps=[*first, msgspec.structs.replace(last, code="print(1)")])
    for script in (task.script, wrong):
        try:
            told = msgspec.to_builtins(verification.verify(script, task.template.apps, others))
        except verification.VerificationError as error:
            told = str(error)
        found.append(told)
print(json.dumps(found))
sys.stdout.flush()
os._exit(0)
"""


def found(world: Path, way: str) -> list[object]:
    environment = {**os.environ, "APPWORLD_ROOT": str(world)}
    told = subprocess.run(
        [sys.executable, "-B", "-c", VERIFY, way],
        env=environment,
        cwd=world,
        capture_output=True,
        text=True,
        check=True,
    )
    told_last: list[object] = json.loads(told.stdout.splitlines()[-1])
    return told_last


@pytest.mark.slow
def test_tasks_are_verified_alike_with_all_that_is_spared_and_without(mini_world: Path) -> None:
    spared = found(mini_world, "spared")
    assert [isinstance(told, str) for told in spared] == [False, True] * 4
    assert spared == found(mini_world, "plain")
