"""The templates together: every app, many combinations, difficulties that mean something."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from statistics import mean

from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.miniworld.contents import make_contents
from prost_lightning.miniworld.people import ACCOUNT_APPS
from prost_lightning.miniworld.planning import plan_tasks
from prost_lightning.miniworld.recipe import Recipe
from prost_lightning.miniworld.scenarios import TEMPLATES, Draft, Template


def test_apps_alone_and_together() -> None:
    assert len(TEMPLATES) >= 48
    assert len({template.name for template in TEMPLATES}) == len(TEMPLATES)
    alone = Counter(template.apps[0] for template in TEMPLATES if len(template.apps) == 1)
    assert {app: count for app, count in alone.items() if count >= 3}.keys() == set(ACCOUNT_APPS)
    assert sum(len(template.apps) == 2 for template in TEMPLATES) >= 16
    assert sum(len(template.apps) >= 3 for template in TEMPLATES) >= 8
    assert any(not template.expects for template in TEMPLATES)


def test_the_challenge_has_app_pairs_that_train_never_shows() -> None:
    known = {frozenset(template.apps) for template in TEMPLATES if not template.challenge}
    challenge = {frozenset(template.apps) for template in TEMPLATES if template.challenge and len(template.apps) > 1}
    assert len(challenge - known) >= 3


def test_difficulties_grow_in_apis_and_code() -> None:
    contents = make_contents(5)

    def draft_of(template: Template) -> Draft:
        random = Random(template.name)
        while True:
            draft = template.draft(contents, random.choice(contents.supervisors), random)
            if draft is not None:
                return draft

    apis: dict[int, list[int]] = {1: [], 2: [], 3: []}
    lines: dict[int, list[int]] = {1: [], 2: [], 3: []}
    for template in TEMPLATES:
        code = "\n".join(step.code for step in draft_of(template).steps)
        apis[template.difficulty].append(len(set(re.findall(r"apis\.(\w+\.\w+)", code))))
        lines[template.difficulty].append(len(code.splitlines()))
    for measured in (apis, lines):
        assert mean(measured[1]) < mean(measured[2]) < mean(measured[3])


def test_episodes_have_room_for_the_longest_tasks() -> None:
    recipe = Recipe()
    steps = [len(task.script.steps) for task in plan_tasks(make_contents(recipe.seed, recipe.supervisors), recipe)]
    assert (min(steps), max(steps)) == (3, 9)
    limits = EpisodeLimits()
    assert max(steps) < limits.sub_tasks
    # Each step of a single agent may start with a look into the documentation, and with a mistake.
    assert 2 * max(steps) < limits.turns
