"""Chooses the tasks of a world: which template, whose life, which parameters, in which split."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from random import Random

from prost_lightning.errors import UserError
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.recipe import TASKS_PER_SCENARIO, Recipe
from prost_lightning.miniworld.scenarios import TEMPLATES, Draft, Template
from prost_lightning.miniworld.script import Script

_ATTEMPTS = 3_000
# So long a new task must have parameters that no task has; after that, that no task of the same person has.
_STRICT_ATTEMPTS = 1_000
_DIFFICULTIES = (1, 2, 3)


@dataclass(frozen=True)
class PlannedTask:
    """A task with its place in the world.

    Attributes:
        task_id: As ``1a2b3c4_1``; the part before the underscore is the scenario's.
        split: The AppWorld split.
        template: Where it comes from.
        person: The supervisor.
        draft: Parameters, expected outcome and solution.
        instruction: The wording chosen.
    """

    task_id: str
    split: str
    template: Template
    person: Person
    draft: Draft
    instruction: str

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


def plan_tasks(contents: Contents, recipe: Recipe) -> list[PlannedTask]:
    """Chooses all tasks.

    No two tasks of a template share their parameters as long as it has new ones, and none ever shares them with a task
    of the same person, so that no split repeats another's tasks. Within a split the scenarios go round the templates,
    so that the first few are as varied as can be.

    Args:
        contents: What the world holds.
        recipe: What the world shall be.

    Returns:
        The tasks, split by split, in the order of the split's file.

    Raises:
        UserError: A template is unknown, the templates cannot yield that many different tasks, or a split has none.
    """
    chosen = _choose(recipe.templates)
    planned: list[PlannedTask] = []
    used: set[tuple[str, ...]] = set()
    for split in recipe.size.__struct_fields__:
        scenarios = getattr(recipe.size, split) // TASKS_PER_SCENARIO
        pool = [template for template in chosen if template.challenge == (split == "test_challenge")]
        if scenarios and not pool:
            raise UserError(f"size.{split}: none of the chosen templates occurs in this split; set it to 0.")
        planned += _plan_split(contents, recipe.seed, split, scenarios, pool, used)
    return planned


def _plan_split(
    contents: Contents, seed: int, split: str, scenarios: int, pool: list[Template], used: set[tuple[str, ...]]
) -> list[PlannedTask]:
    """Goes round the templates; one that has no new parameters left leaves its turns to the others."""
    planned: list[PlannedTask] = []
    turn = 0
    while len(planned) < scenarios * TASKS_PER_SCENARIO:
        if not pool:
            raise UserError(f"size.{split}: no template has new parameters left for so many scenarios; ask for fewer.")
        for template in list(pool):
            scenario = _plan_scenario(contents, template, f"{seed}/{split}/{turn}/{template.name}", split, used)
            if not scenario:
                pool = [other for other in pool if other is not template]
            planned += scenario
            if len(planned) == scenarios * TASKS_PER_SCENARIO:
                break
        turn += 1
    return planned


def _choose(names: tuple[str, ...]) -> list[Template]:
    """The templates asked for in that order, or all with the difficulties in turn."""
    if names:
        known = {template.name: template for template in TEMPLATES}
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise UserError(f"templates: {', '.join(unknown)} unknown; choose among {', '.join(sorted(known))}.")
        return [known[name] for name in names]
    ordered: list[Template] = []
    # By a hash, so that the first templates are of many apps.
    shuffled = sorted(TEMPLATES, key=lambda template: hashlib.sha256(template.name.encode()).digest())
    for challenge in (False, True):
        queues = [[t for t in shuffled if t.challenge == challenge and t.difficulty == d] for d in _DIFFICULTIES]
        while any(queues):
            ordered += [queue.pop(0) for queue in queues if queue]
    return ordered


def _plan_scenario(
    contents: Contents, template: Template, name: str, split: str, used: set[tuple[str, ...]]
) -> list[PlannedTask]:
    random = Random(name)
    scenario_id = hashlib.sha256(name.encode()).hexdigest()[:7]
    planned: list[PlannedTask] = []
    people = list(contents.supervisors)
    for attempt in range(_ATTEMPTS):
        if len(planned) == TASKS_PER_SCENARIO:
            return planned
        person = random.choice(people)
        draft = template.draft(contents, person, random)
        if draft is None:
            continue
        parameters = (template.name, json.dumps(draft.public, sort_keys=True))
        if (*parameters, person.name) in used or (attempt < _STRICT_ATTEMPTS and parameters in used):
            continue
        used |= {parameters, (*parameters, person.name)}
        people.remove(person)
        wordings = draft.instructions
        instruction = wordings[-1] if split == "test_normal" else random.choice(wordings[:-1])
        task_id = f"{scenario_id}_{len(planned) + 1}"
        planned.append(PlannedTask(task_id, split, template, person, draft, instruction))
    return []
