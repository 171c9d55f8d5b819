"""What every plan of a world must keep to, whatever its seed; no engine needed."""

from __future__ import annotations

import ast
import json
from collections import defaultdict

import pytest

from prost_lightning.errors import UserError
from prost_lightning.miniworld.contents import PAGE_LIMIT, make_contents
from prost_lightning.miniworld.planning import PlannedTask, plan_tasks
from prost_lightning.miniworld.recipe import WorldSize
from prost_lightning.miniworld.scenarios import TEMPLATES

SIZE = WorldSize(train=2, dev=1, test_normal=1, test_challenge=2)
SPLITS = ("train", "dev", "test_normal", "test_challenge")


def plan(seed: int, size: WorldSize = SIZE) -> list[PlannedTask]:
    return plan_tasks(make_contents(seed), seed, size)


@pytest.fixture(scope="module", params=range(5))
def tasks(request: pytest.FixtureRequest) -> list[PlannedTask]:
    return plan(request.param)


def test_there_are_enough_templates_apps_and_difficulties() -> None:
    known = [template for template in TEMPLATES if not template.challenge]
    challenge = [template for template in TEMPLATES if template.challenge]
    assert len(known) >= 5
    assert len(challenge) >= 3
    assert len({app for template in TEMPLATES for app in template.apps}) >= 4
    for group in (known, challenge):
        assert {template.difficulty for template in group} == {1, 2, 3}


def test_each_split_has_the_scenarios_asked_for(tasks: list[PlannedTask]) -> None:
    scenarios: dict[tuple[str, str], set[str]] = defaultdict(set)
    members: dict[str, list[PlannedTask]] = defaultdict(list)
    for task in tasks:
        scenario = task.task_id.partition("_")[0]
        scenarios[task.split, task.template.name].add(scenario)
        members[scenario].append(task)
    for split in SPLITS:
        expected = [template for template in TEMPLATES if template.challenge == (split == "test_challenge")]
        assert {name for of_split, name in scenarios if of_split == split} == {template.name for template in expected}
        for template in expected:
            assert len(scenarios[split, template.name]) == getattr(SIZE, split)
    for scenario, of_scenario in members.items():
        assert [task.task_id for task in of_scenario] == [f"{scenario}_{number}" for number in (1, 2, 3)]
        assert len({task.person.index for task in of_scenario}) == 3


def test_no_two_tasks_of_a_template_share_their_parameters(tasks: list[PlannedTask]) -> None:
    keys = [(task.template.name, json.dumps(task.draft.public, sort_keys=True)) for task in tasks]
    assert len(set(keys)) == len(keys)


def test_the_first_tasks_of_a_split_are_of_different_templates(tasks: list[PlannedTask]) -> None:
    first = [task.template.name for task in tasks if task.split == "train"][::3]
    known = sum(not template.challenge for template in TEMPLATES)
    assert len(set(first[:known])) == known


def test_instructions_are_short_and_name_every_parameter(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        assert len(task.draft.instruction.split()) <= 30
        for value in task.draft.public.values():
            assert str(value) in task.draft.instruction


def test_each_template_has_two_instruction_wordings() -> None:
    wordings = defaultdict(set)
    for seed in range(8):
        for task in plan(seed):
            text = task.draft.instruction
            for value in sorted(map(str, task.draft.public.values()), key=len, reverse=True):
                text = text.replace(value, "*")
            wordings[task.template.name].add(text)
    assert all(len(texts) >= 2 for texts in wordings.values()), wordings


def test_steps_are_short_and_regular(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        steps = task.draft.steps
        assert 2 <= len(steps) <= 4
        assert {app for step in steps for app in step.apps} - {"supervisor"} == set(task.template.apps)
        for step in steps:
            assert len(set(step.goals)) >= 2
            assert len(set(step.plans)) >= 2
            assert step.lookups
            assert len(step.code.splitlines()) <= 8
            assert step.code.splitlines()[-1].startswith("print(")
            assert step.code.count("print(") == 1
            assert 0 < len(step.result) <= 80
            assert "\n" not in step.result
            assert "complete_task" not in step.code


def test_goals_name_every_parameter_that_the_code_needs(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        parameters = {str(value) for value in task.draft.public.values()}
        for step in task.draft.steps:
            tree = ast.parse(step.code.replace(f"page_limit={PAGE_LIMIT}", ""))
            constants = {str(node.value).lstrip("~/.") for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            for parameter in parameters & constants:
                assert all(parameter in goal for goal in step.goals), (task.template.name, step.kind, parameter)


def test_logins_are_alike_in_all_templates(tasks: list[PlannedTask]) -> None:
    skeletons = set()
    for task in tasks:
        for step in task.draft.steps:
            if step.kind == "login" and step.apps[-1] != "phone":
                skeletons.add(step.code.replace(step.apps[-1], "<app>"))
    assert len(skeletons) == 1


def test_mistakes_differ_from_the_right_code_and_say_one_reason(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        kinds = set()
        for step in task.draft.steps:
            assert step.mistakes
            for mistake in step.mistakes:
                ast.parse(mistake.code)
                assert mistake.code != step.code, (task.template.name, step.kind, mistake.kind)
                assert "\n" not in mistake.reason
                assert mistake.reason.endswith(".")
                assert len(mistake.reason) <= 120
                kinds.add(mistake.kind)
        assert len(kinds) >= 2


def test_lists_are_longer_than_a_page() -> None:
    contents = make_contents(3)
    for person in contents.supervisors:
        mine = contents.of(person)
        assert len(mine.library) > PAGE_LIMIT
        assert len(mine.contacts) > PAGE_LIMIT
        assert sum(payment.sender is person for payment in contents.payments) > PAGE_LIMIT


def test_the_plan_follows_from_the_seed() -> None:
    assert plan(4) == plan(4)
    assert plan(4) != plan(5)


def test_a_smaller_world_starts_like_a_larger_one() -> None:
    small = [task for task in plan(6, WorldSize(1, 1, 1, 1)) if task.split == "train"]
    assert small == plan(6)[: len(small)]


def test_a_size_beyond_the_parameters_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"size\.train: template \w+ has no new parameters left"):
        plan(0, WorldSize(train=200, dev=1, test_normal=1, test_challenge=1))


def test_an_empty_split_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"size\.dev is 0"):
        WorldSize(train=1, dev=0, test_normal=1, test_challenge=1)
