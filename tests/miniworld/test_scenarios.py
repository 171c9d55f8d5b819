"""The tasks on the real engine: right solutions pass, wrong ones and side effects do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prost_lightning.appworld.blocking import BlockingPool
from prost_lightning.appworld.data import load_script
from prost_lightning.appworld.evaluate import Evaluator, TaskResult
from prost_lightning.appworld.pool import AppWorldPool
from prost_lightning.miniworld.recipe import read_note
from prost_lightning.miniworld.script import Answer, Script

NAMES = [
    "spotify_extreme_song",
    "spotify_like_long_songs",
    "venmo_total",
    "note_to_project",
    "phone_text_contact",
    "spotify_artist_playlist",
    "email_note",
]


def few(names: list[str], kept: int) -> list[Any]:
    """The first of them; the others are slow tests, since the build has played each already."""
    return [*names[:kept], *(pytest.param(name, marks=pytest.mark.slow) for name in names[kept:])]


# What somebody careless might do besides the task, in an app that every task's person has.
SIDE_EFFECT = """
passwords = {a["account_name"]: a["password"] for a in apis.supervisor.show_account_passwords()}
email = apis.supervisor.show_profile()["email"]
token = apis.simple_note.login(username=email, password=passwords["simple_note"])["access_token"]
apis.simple_note.create_note(title="Diary", content="Done.", access_token=token)
"""


class Engine:
    """Plays code on a task and has it judged."""

    def __init__(self, root: Path, output: Path, pool: BlockingPool, evaluator: Evaluator) -> None:
        self.root = root
        self.output = output
        self.pool = pool
        self.evaluator = evaluator

    def script(self, template: str) -> Script:
        note = read_note(self.root)
        assert note is not None
        # The first task of a scenario, which the build plays with mistakes too.
        return load_script(self.root, note.templates[template][0])

    def play(self, task_id: str, codes: list[str], answer: Answer, experiment: str) -> tuple[list[str], TaskResult]:
        with self.pool.open(task_id, experiment) as session:
            outputs = [session.execute(code).output.strip() for code in codes]
            session.execute(f"apis.supervisor.complete_task(answer={answer!r}, status='success')")
        return outputs, self.evaluator.evaluate(experiment, task_id)


@pytest.fixture(scope="module")
def engine(mini_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    output = tmp_path_factory.mktemp("scenarios")
    with BlockingPool(AppWorldPool(mini_world, output)) as pool, Evaluator(mini_world, output) as evaluator:
        yield Engine(mini_world, output, pool, evaluator)


@pytest.mark.parametrize("template", NAMES)
def test_the_script_prints_its_results_and_passes(engine: Engine, template: str) -> None:
    script = engine.script(template)
    codes = [step.code for step in script.steps]
    outputs, result = engine.play(script.task_id, codes, script.answer, "right")
    assert outputs == [step.result for step in script.steps]
    assert result.success, result.failures
    made = engine.output / f"experiments/outputs/right/tasks/{script.task_id}/logs/api_calls.jsonl"
    recorded = engine.root / f"data/tasks/{script.task_id}/ground_truth/api_calls.json"
    *calls, completing = [json.loads(line) for line in made.read_text().splitlines()]
    assert completing["url"] == "/supervisor/message"  # the only call that belongs to no sub-task
    assert [(call["method"], call["url"]) for call in calls] == [
        (call["method"], call["url"]) for call in json.loads(recorded.read_text())
    ]


@pytest.mark.parametrize("template", few(NAMES[::-1], 2))
def test_a_side_effect_fails(engine: Engine, template: str) -> None:
    script = engine.script(template)
    codes = [step.code for step in script.steps]
    _, result = engine.play(script.task_id, [*codes, SIDE_EFFECT], script.answer, "side-effect")
    assert not result.success


@pytest.mark.parametrize("template", few(["venmo_total", "note_to_project", "spotify_extreme_song"], 1))
def test_a_wrong_answer_fails(engine: Engine, template: str) -> None:
    script = engine.script(template)
    codes = [step.code for step in script.steps]
    _, result = engine.play(script.task_id, codes, "something else", "wrong-answer")
    assert not result.success


@pytest.mark.parametrize("template", few(["phone_text_contact", "email_note", "note_to_project"], 1))
def test_doing_the_last_step_twice_fails(engine: Engine, template: str) -> None:
    script = engine.script(template)
    codes = [step.code for step in script.steps]
    _, result = engine.play(script.task_id, [*codes, codes[-1]], script.answer, "twice")
    assert not result.success


PAGED = ["spotify_extreme_song", "spotify_like_long_songs", "venmo_total", "phone_text_contact"]


@pytest.mark.parametrize("template", few(PAGED, 1))
def test_reading_the_first_page_only_fails(engine: Engine, template: str) -> None:
    script = engine.script(template)
    codes = [
        next((mistake.code for mistake in step.mistakes if mistake.kind == "first_page_only"), step.code)
        for step in script.steps
    ]
    assert codes != [step.code for step in script.steps]
    outputs, result = engine.play(script.task_id, codes, script.answer, "first-page")
    assert outputs[-1] != script.steps[-1].result
    # A question was given the right answer here, so that only the actions can be judged.
    assert result.success == (script.answer is not None)
