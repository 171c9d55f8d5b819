"""What every plan of a world must keep to, whatever its seed; no engine needed."""

from __future__ import annotations

import ast
import json
from collections import defaultdict

import pytest

from prost_lightning.errors import UserError
from prost_lightning.miniworld.contents import PAGE_LIMIT, make_contents
from prost_lightning.miniworld.planning import PlannedTask, plan_tasks
from prost_lightning.miniworld.recipe import Recipe, WorldSize
from prost_lightning.miniworld.scenarios import TEMPLATES

SIZE = WorldSize(train=240, dev=60, test_normal=120, test_challenge=48)
SPLITS = ("train", "dev", "test_normal", "test_challenge")


def plan(seed: int, size: WorldSize = SIZE) -> list[PlannedTask]:
    return plan_tasks(make_contents(seed), Recipe(seed=seed, size=size))


@pytest.fixture(scope="module", params=range(2))
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


def test_each_split_has_the_tasks_asked_for(tasks: list[PlannedTask]) -> None:
    members: dict[str, list[PlannedTask]] = defaultdict(list)
    for task in tasks:
        members[task.task_id.partition("_")[0]].append(task)
        assert task.template.challenge == (task.split == "test_challenge")
    for split in SPLITS:
        of_split = [task for task in tasks if task.split == split]
        assert len(of_split) == getattr(SIZE, split)
        assert {task.template.difficulty for task in of_split} == {1, 2, 3}
    for scenario, of_scenario in members.items():
        assert [task.task_id for task in of_scenario] == [f"{scenario}_{number}" for number in (1, 2, 3)]
        assert len({task.template.name for task in of_scenario}) == 1
        assert len({task.person.index for task in of_scenario}) == 3


def test_no_two_tasks_are_alike(tasks: list[PlannedTask]) -> None:
    keys = [(task.template.name, task.person.index, json.dumps(task.draft.public, sort_keys=True)) for task in tasks]
    assert len(set(keys)) == len(keys)


def test_test_normal_is_worded_as_train_never_is(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        wordings = task.draft.instructions
        assert len(set(wordings)) == len(wordings) >= 3, task.template.name
        assert (task.instruction == wordings[-1]) == (task.split == "test_normal")


def test_the_first_tasks_of_a_split_are_of_different_templates(tasks: list[PlannedTask]) -> None:
    first = [task.template for task in tasks if task.split == "train"][::3]
    known = sum(not template.challenge for template in TEMPLATES)
    assert len({template.name for template in first[:known]}) == known
    assert [template.difficulty for template in first[:3]] == [1, 2, 3]


def test_instructions_are_short_and_name_every_parameter(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        for instruction in task.draft.instructions:
            assert len(instruction.split()) <= 45
            for value in task.draft.public.values():
                assert str(value) in instruction


def test_steps_are_short_and_regular(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        steps = task.draft.steps
        assert 3 <= len(steps) <= 9, task.template.name
        assert {app for step in steps for app in step.apps} - {"supervisor"} == set(task.template.apps)
        for step in steps:
            assert len(set(step.goals)) >= 2
            assert len(set(step.plans)) >= 2
            assert step.lookups
            assert len(step.code.splitlines()) <= 10
            assert step.code.splitlines()[-1].startswith("print(")
            assert step.code.count("print(") == 1
            assert 0 < len(step.result) <= 80
            assert "\n" not in step.result
            assert "complete_task" not in step.code


def test_goals_name_every_parameter_that_the_code_needs(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        parameters = {str(value) for value in task.draft.public.values()}
        for step in task.draft.steps:
            tree = ast.parse(step.code.replace(f"page_limit={PAGE_LIMIT}", "page_limit=limit"))
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
        assert len(mine.spotify.library) > PAGE_LIMIT
        assert len(mine.phone.contacts) > PAGE_LIMIT
        assert len(mine.venmo.sent(person)) > PAGE_LIMIT
        assert len(mine.gmail.inbox) > PAGE_LIMIT
        assert len(mine.notes) > PAGE_LIMIT
        assert len(mine.amazon.orders) > PAGE_LIMIT
        assert len(mine.splitwise.groups[0].expenses) > PAGE_LIMIT


def test_namesakes_are_among_the_contacts() -> None:
    contents = make_contents(3)
    for person in contents.supervisors:
        names = [contact.person.first_name for contact in contents.of(person).phone.contacts]
        assert len(set(names)) < len(names)


def test_the_answer_is_what_the_last_sub_task_prints_and_never_written_into_the_code(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        answer, steps = task.draft.answer, task.draft.steps
        if answer is not None:
            assert steps[-1].result == str(answer), task.template.name
            assert not any(f'"{answer}"' in step.code for step in steps), task.template.name
        assert bool(task.template.expects) == bool(task.draft.rows)
        assert {e.key for e in task.template.expects if e.change != "side"} == set(task.draft.rows)
        assert answer is not None or task.draft.rows


def test_every_sub_task_can_be_checked(tasks: list[PlannedTask]) -> None:
    for task in tasks:
        for step in task.draft.steps:
            assert step.check.calls or step.check.value, (task.template.name, step.goals[0])
            assert all(f"apis.{name}(" in step.code for name in step.check.calls)
            assert step.check.value is None or step.check.value in step.result


def test_the_plan_follows_from_the_seed() -> None:
    small = WorldSize(9, 9, 9, 9)
    assert plan(4, small) == plan(4, small)
    assert plan(4, small) != plan(5, small)


def test_a_smaller_world_starts_like_a_larger_one() -> None:
    small = [task for task in plan(6, WorldSize(9, 9, 9, 9)) if task.split == "train"]
    assert small == plan(6)[: len(small)]


def test_a_world_can_be_restricted_to_templates() -> None:
    names = ("spotify_like_long_songs", "spotify_extreme_song")
    recipe = Recipe(seed=7, size=WorldSize(6, 6, 6, 0), templates=names, supervisors=6)
    tasks = plan_tasks(make_contents(7, 6), recipe)
    assert [task.template.name for task in tasks][::3] == list(names) * 3


def test_what_cannot_be_planned_is_a_clear_error() -> None:
    contents = make_contents(0, 3)
    with pytest.raises(UserError, match=r"size\.test_challenge: none of the chosen templates"):
        plan_tasks(contents, Recipe(size=WorldSize(0, 0, 0, 3), templates=("venmo_total",), supervisors=3))
    with pytest.raises(UserError, match="templates: knitting unknown"):
        plan_tasks(contents, Recipe(templates=("knitting",), supervisors=3))
    with pytest.raises(UserError, match=r"size\.train: no template has new parameters left"):
        plan_tasks(contents, Recipe(size=WorldSize(900, 0, 0, 0), templates=("venmo_total",), supervisors=3))


def test_sizes_are_whole_scenarios() -> None:
    with pytest.raises(UserError, match=r"size\.dev is 4"):
        WorldSize(dev=4)
    assert WorldSize.of(540) == WorldSize()
    assert WorldSize.of(5000).total == pytest.approx(5000, abs=12)
    with pytest.raises(UserError, match="tasks is 12"):
        WorldSize.of(12)
    with pytest.raises(UserError, match="supervisors is 2"):
        Recipe(supervisors=2)
