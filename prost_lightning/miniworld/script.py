"""A task's solution as ordered sub-tasks: what a teacher plays and what the build verifies on the engine."""

from __future__ import annotations

from typing import Literal

import msgspec

MistakeKind = Literal["wrong_argument", "missing_login", "first_page_only", "wrong_api"]
Answer = str | int | float | None


class Mistake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plausible wrong way to do a sub-task, harmless enough that the right code can follow it.

    Attributes:
        kind: What sort of mistake it is.
        code: The wrong code. On the engine it fails, or prints another result than the right code does.
        reason: What the critic says about it: one concrete short sentence.
    """

    kind: MistakeKind
    code: str
    reason: str


class SubTaskCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sub-task must have done, whoever did it and however; both must hold.

    Attributes:
        calls: APIs, as ``spotify.login``, that must have been called with success: those that change something, or,
            in a sub-task that changes nothing and produces no value, those that it reads from.
        value: What its result must contain; None where only the calls count.
    """

    calls: list[str]
    value: str | None = None


class ScriptStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sub-task of a solution.

    Attributes:
        kind: What sort of work it is: ``login``, ``collect``, ``read``, ``compute`` or ``write``.
        apps: The apps that it touches.
        goals: Two or more wordings of the goal, each naming every value that the code needs.
        plans: Two or more wordings of how to go about it.
        lookups: The (app, API) documents that a newcomer would read first.
        code: Python for the engine. It uses the variables that earlier steps left, and ends by printing one line.
        result: Exactly the last line that the code prints.
        mistakes: Wrong ways to do it.
        check: How to see that it was done.
    """

    kind: str
    apps: list[str]
    goals: list[str]
    plans: list[str]
    lookups: list[tuple[str, str]]
    code: str
    result: str
    mistakes: list[Mistake]
    check: SubTaskCheck


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task's whole solution.

    Attributes:
        task_id: The AppWorld task.
        template: The scenario template that the task comes from.
        difficulty: AppWorld difficulty, 1 to 3.
        steps: The sub-tasks in order.
        answer: What the task is answered with at the end; None for a task that only asks for an action.
    """

    task_id: str
    template: str
    difficulty: int
    steps: list[ScriptStep]
    answer: Answer
