"""Shapes that many sub-tasks have: one result from a filtered list, one call, one call for each row of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from prost_lightning.miniworld.contents import PAGE_LIMIT
from prost_lightning.miniworld.scenarios.steps import call, for_each, keep, step
from prost_lightning.miniworld.script import ScriptStep

Row = TypeVar("Row")


def needs_all_pages(rows: Sequence[Row], answer: Callable[[Sequence[Row]], object]) -> bool:
    """Whether the first page of a list alone gives another answer; true of lists that have but one.

    Args:
        rows: The list, in the order of the app.
        answer: What follows from it.
    """
    return len(rows) <= PAGE_LIMIT or answer(rows[:PAGE_LIMIT]) != answer(rows)


def compute_from(
    app: str,
    rows: str,
    condition: str,
    show: str,
    goals: Sequence[str],
    how: str,
    result: str,
    wrong: tuple[str, str, str] | None = None,
) -> ScriptStep:
    """The sub-task that filters a list and prints what follows from the rows that are left.

    Args:
        app: The app that the list comes from.
        rows: The list, as ``songs``; its first letter is the item of the condition.
        condition: The condition in Python.
        show: What to print of ``matches``, as a Python expression.
        goals: Two or more wordings of the goal.
        how: The plan in a few words.
        result: What it prints.
        wrong: As of :func:`~prost_lightning.miniworld.scenarios.steps.step`.
    """
    return step("compute", app, goals, how, [keep(rows, condition), f"print({show})"], result, wrong=wrong)


def write_once(
    app: str, api: str, goals: Sequence[str], how: str, show: str, result: str, **arguments: str
) -> ScriptStep:
    """The sub-task that changes something by one call.

    Args:
        app: The app, logged in to before.
        api: The API.
        goals: Two or more wordings of the goal.
        how: What follows ``call <api>`` in the plan.
        show: What to print afterwards, as Python expressions.
        result: What it prints.
        arguments: The API's arguments as Python expressions.
    """
    code = [call(app, api, **arguments), f"print({show})"]
    return step("write", app, goals, f"call {api} {how}", code, result)


def write_for_all(
    app: str, api: str, source: tuple[str, str, str], goals: Sequence[str], how: str, result: str, **arguments: str
) -> ScriptStep:
    """The sub-task that changes something for each row of a list.

    Args:
        app: The app, logged in to before.
        api: The API to call for each row.
        source: The rows as a Python expression, the variable where they go, and the loop's variable.
        goals: Two or more wordings of the goal.
        how: What follows ``call <api>`` in the plan.
        result: What it prints: the number of rows and what was done, as ``5 payments sent``.
        arguments: The API's arguments as Python expressions.
    """
    value, rows, item = source
    code = [
        f"{rows} = {value}",
        *for_each(rows, item, call(app, api, **arguments)),
        f'print(len({rows}), "{result.partition(" ")[2]}")',
    ]
    return step("write", app, goals, f"call {api} {how}", code, result)
