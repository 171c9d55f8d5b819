"""Chooses the tasks of a world: which template, whose life, which parameters, in which split."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from random import Random

from prost_lightning.errors import UserError
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.recipe import TASKS_PER_SCENARIO, WorldSize
from prost_lightning.miniworld.scenarios import TEMPLATES, TaskDraft, Template
from prost_lightning.miniworld.script import Script

_ATTEMPTS = 2_000


@dataclass(frozen=True)
class PlannedTask:
    """A task with its place in the world.

    Attributes:
        task_id: As ``1a2b3c4_1``; the part before the underscore is the scenario's.
        split: The AppWorld split.
        template: Where it comes from.
        person: The supervisor.
        draft: Text, parameters, expected outcome and solution.
    """

    task_id: str
    split: str
    template: Template
    person: Person
    draft: TaskDraft

    @property
    def script(self) -> Script:
        """The solution in the form that teachers read."""
        return Script(
            task_id=self.task_id,
            template=self.template.name,
            difficulty=self.template.difficulty,
            steps=self.draft.steps,
            answer=self.draft.answer,
        )


def plan_tasks(contents: Contents, seed: int, size: WorldSize) -> list[PlannedTask]:
    """Chooses all tasks.

    No two tasks of a template share their parameters, so that no split repeats another's tasks. Within a split the
    scenarios go round the templates, so that the first few are as varied as can be.

    Args:
        contents: What the world holds.
        seed: Seed of the world.
        size: Scenarios a template in each split.

    Returns:
        The tasks, split by split, in the order of the split's file.

    Raises:
        UserError: A template cannot yield that many different tasks.
    """
    planned: list[PlannedTask] = []
    used: set[tuple[str, str]] = set()
    for split in size.__struct_fields__:
        templates = [template for template in TEMPLATES if template.challenge == (split == "test_challenge")]
        for number in range(getattr(size, split)):
            for template in templates:
                planned.extend(
                    _plan_scenario(contents, template, f"{seed}/{split}/{number}/{template.name}", split, used)
                )
    return planned


def _plan_scenario(
    contents: Contents, template: Template, name: str, split: str, used: set[tuple[str, str]]
) -> list[PlannedTask]:
    random = Random(name)
    scenario_id = hashlib.sha256(name.encode()).hexdigest()[:7]
    planned: list[PlannedTask] = []
    people = list(contents.supervisors)
    for _ in range(_ATTEMPTS):
        if len(planned) == TASKS_PER_SCENARIO:
            return planned
        person = random.choice(people)
        draft = template.draft(contents, person, random)
        if draft is None:
            continue
        parameters = (template.name, json.dumps(draft.public, sort_keys=True))
        if parameters in used:
            continue
        used.add(parameters)
        people.remove(person)
        task_id = f"{scenario_id}_{len(planned) + 1}"
        planned.append(PlannedTask(task_id, split, template, person, draft))
    raise UserError(
        f"size.{split}: template {template.name} has no new parameters left for so many scenarios; ask for fewer."
    )
