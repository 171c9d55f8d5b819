"""Plays every task on the real engine. Imports ``appworld``: for the build's subprocess only."""

from __future__ import annotations

import json
from typing import Any

from appworld import AppWorld

from prost_lightning.miniworld.script import Script

_EXPERIMENT = "build"
_LINE_LIMIT = 80


class VerificationError(RuntimeError):
    """A task does not behave as its script says: a fault of the generator, never of the user."""


def label_requirements(task_id: str) -> list[dict[str, str]]:
    """Finds out which of the evaluator's requirements a run that does nothing meets.

    Args:
        task_id: A task whose ``test_data.json`` is still empty.

    Returns:
        The content of ``test_data.json``.

    Raises:
        VerificationError: Doing nothing passes the task.
    """
    with AppWorld(task_id=task_id, experiment_name=_EXPERIMENT) as world:
        world.execute(complete_call(None))
        outcome = world.evaluate()
    if outcome.success:
        raise VerificationError(f"{task_id}: doing nothing passes")
    # Failures first, as AppWorld's own generator orders them.
    labels = [{"requirement": failure["requirement"], "label": "no_op_fail"} for failure in outcome.failures]
    return labels + [{"requirement": passed["requirement"], "label": "no_op_pass"} for passed in outcome.passes]


def play_script(script: Script, *, with_mistakes: bool) -> list[dict[str, Any]]:
    """Plays a script and checks everything that it says.

    Args:
        script: The script of a task of this world.
        with_mistakes: Play each step's mistakes before its right code, to see that they are harmless.

    Returns:
        The API calls that were made, as AppWorld records them.

    Raises:
        VerificationError: A code does not print what it should, a mistake goes unnoticed, or the evaluator is not
            satisfied.
    """
    with AppWorld(task_id=script.task_id, experiment_name=_EXPERIMENT) as world:
        for number, step in enumerate(script.steps, start=1):
            where = f"{script.task_id} ({script.template}), step {number}"
            for mistake in step.mistakes if with_mistakes else ():
                output = world.execute(mistake.code)
                if last_line(output) == step.result:
                    raise VerificationError(f"{where}: the mistake {mistake.kind} prints the right result")
            output = world.execute(step.code)
            if output.strip() != step.result or len(step.result) > _LINE_LIMIT:
                raise VerificationError(f"{where}: expected {step.result!r}, got {output!r}")
        world.execute(complete_call(script.answer))
        completed = world.task_completed()
        calls = [{"method": call["method"], "url": call["url"], "data": {}} for call in world.requester.requests]
        # Last, since evaluating can leave the models on the databases of the start.
        outcome = world.evaluate()
    if not completed or not outcome.success:
        raise VerificationError(f"{script.task_id} ({script.template}): not passed: {json.dumps(outcome.failures)}")
    return calls


def complete_call(answer: object) -> str:
    """The code that ends a task with an answer."""
    return f'apis.supervisor.complete_task(answer={answer!r}, status="success")'


def last_line(output: str) -> str:
    """The last line of an engine output, without surrounding blanks."""
    lines = output.strip().splitlines()
    return lines[-1].strip() if lines else ""
