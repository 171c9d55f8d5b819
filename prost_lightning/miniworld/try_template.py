"""Tries templates while they are written: ``python -m prost_lightning.miniworld.try_template NAME...``.

It shows a task of each template and builds a small world of them with the full verification on the engine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from prost_lightning.errors import UserError
from prost_lightning.miniworld.build import Recipe, WorldSize, build_world
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.planning import plan_tasks
from prost_lightning.miniworld.scenarios import TEMPLATES

_TASKS = 6
_SUPERVISORS = 6


def main() -> None:
    """Shows and verifies the templates named on the command line."""
    parser = argparse.ArgumentParser(description="Shows a task of each template and verifies a few on the engine.")
    parser.add_argument("names", nargs="+", metavar="NAME", help="a template")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--show-only", action="store_true", help="do not start the engine")
    arguments = parser.parse_args()
    challenge = sum(template.challenge for template in TEMPLATES if template.name in arguments.names)
    size = WorldSize(
        train=_TASKS * (len(arguments.names) - challenge), dev=0, test_normal=0, test_challenge=_TASKS * challenge
    )
    try:
        recipe = Recipe(seed=arguments.seed, size=size, templates=tuple(arguments.names), supervisors=_SUPERVISORS)
        for task in plan_tasks(make_contents(recipe.seed, recipe.supervisors), recipe):
            if task.task_id.endswith("_1"):
                print(f"\n# {task.template.name}: {task.instruction}\n# answer: {task.draft.answer!r}")
                for number, step in enumerate(task.draft.steps, start=1):
                    print(f"\n# {number}. {step.goals[0]} ({step.plans[0]})\n{step.code}\n# -> {step.result}")
        if not arguments.show_only:
            with tempfile.TemporaryDirectory() as directory:
                build_world(Path(directory) / "world", recipe)
            print(f"\nVerified: {size.total} tasks of {', '.join(arguments.names)}.")
    except (UserError, RuntimeError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
