"""What a scenario template is, and how one is declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from prost_lightning.miniworld.contents import PAGE_LIMIT, Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.expectations import Expectation, evaluation_source
from prost_lightning.miniworld.script import Answer, ScriptStep


@dataclass(frozen=True)
class Draft:
    """One task of a scenario, before it has an id.

    Attributes:
        instructions: Three or more wordings of the task; the last is kept for ``test_normal``.
        public: Parameters that the instruction names; the evaluator reads them as ``public_data``.
        steps: The solution.
        answer: Expected answer; None for a task that asks for an action only.
        rows: The rows that the solution changes, by key of the template's expectation, as ``added spotify.SongLike``.
    """

    instructions: Sequence[str]
    public: dict[str, Any]
    steps: list[ScriptStep]
    answer: Answer = None
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)


Drafter = Callable[[Contents, Person, Random], Draft | None]


@dataclass(frozen=True)
class Template:
    """A family of tasks.

    Attributes:
        name: Its name.
        difficulty: AppWorld difficulty, 1 to 3.
        apps: Apps that a solution uses.
        draft: Makes a task for a person, with random parameters; None where the person's belongings do not suit them.
        expects: What a right solution changes; anything more is a side effect.
        challenge: Occurs in ``test_challenge`` only.
    """

    name: str
    difficulty: int
    apps: tuple[str, ...]
    draft: Drafter
    expects: tuple[Expectation, ...] = ()
    challenge: bool = False

    @property
    def evaluation(self) -> str:
        """Source of the task's evaluator in the form that AppWorld imports."""
        return evaluation_source(self.expects)


def template(
    difficulty: int, *apps: str, expects: Sequence[Expectation] = (), challenge: bool = False
) -> Callable[[Drafter], Template]:
    """Declares a template: decorates the function that drafts its tasks, whose name becomes the template's.

    Args:
        difficulty: AppWorld difficulty, 1 to 3.
        apps: Apps that a solution uses.
        expects: What a right solution changes.
        challenge: Whether it occurs in ``test_challenge`` only.
    """

    def declare(draft: Drafter) -> Template:
        return Template(draft.__name__, difficulty, apps, draft, tuple(expects), challenge)

    return declare


def beyond_first_page(rows: Sequence[object], chosen: Sequence[object]) -> bool:
    """Whether some of the chosen rows are missed by reading only the first page of a list, in the list's own order."""
    return any(row in rows[PAGE_LIMIT:] for row in chosen)
