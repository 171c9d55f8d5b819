"""What a scenario template is, and the pieces that all templates share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from prost_lightning.miniworld.contents import PAGE_LIMIT, Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.script import Answer, Mistake, ScriptStep

ANSWER_REQUIREMENT = "the answer is right (none where the task asks for none)"

# The longest list in the world has 56 rows.
_PAGES = 5


@dataclass(frozen=True)
class TaskDraft:
    """One task of a scenario, before it has an id.

    Attributes:
        instruction: The task's text.
        public: Parameters that the instruction names; the evaluator reads them as ``public_data``.
        private: Expected outcome; the evaluator reads it as ``private_data``.
        answer: Expected answer, None for a task that asks for an action only.
        steps: The solution.
    """

    instruction: str
    public: dict[str, Any]
    private: dict[str, Any]
    answer: Answer
    steps: list[ScriptStep]


@dataclass(frozen=True)
class Template:
    """A family of tasks.

    Attributes:
        name: Its name.
        difficulty: AppWorld difficulty, 1 to 3.
        apps: Apps that a solution uses.
        draft: Makes a task for a person, with random parameters; None where the person's belongings do not suit them.
        changes: Tables that a right solution changes, as ``spotify.SongLike``; anything more is a side effect.
        checks: Body of the evaluator after the common checks: ``with test(...)`` blocks.
        challenge: Occurs in ``test_challenge`` only.
    """

    name: str
    difficulty: int
    apps: tuple[str, ...]
    draft: Callable[[Contents, Person, Random], TaskDraft | None]
    changes: tuple[str, ...] = ()
    checks: str = ""
    challenge: bool = False

    @property
    def evaluation(self) -> str:
        """Source of the task's evaluator in the form that AppWorld imports."""
        changes = ", ".join(repr(name) for name in self.changes)
        checks = "".join(f"    {line}\n" if line else "\n" for line in self.checks.strip().splitlines())
        return (
            "import json\n\n\n"
            "def evaluate(test, public_data, private_data, main_user, models, ground_truth_answer):\n"
            "    predicted_answer = json.loads(models.end.supervisor.Task.first().answer)\n"
            f'    with test("{ANSWER_REQUIREMENT}"):\n'
            "        test.answer(predicted_answer, ground_truth_answer)\n"
            f'    with test("only the expected tables changed"):\n'
            f'        test.case(models.changed_model_names(), "==", set([{changes}]))\n'
            f"{checks}"
        )


def login_step(app: str) -> ScriptStep:
    """The login sub-task, alike for every app.

    Args:
        app: The app; its token is left in ``<app>_token``.
    """
    field, wrong_field = ("phone_number", "email") if app == "phone" else ("email", "first_name")
    said = {"phone_number": "phone number", "email": "email address", "first_name": "first name"}

    def code(username: str, login: str) -> str:
        return (
            "profile = apis.supervisor.show_profile()\n"
            'passwords = {a["account_name"]: a["password"] for a in apis.supervisor.show_account_passwords()}\n'
            f'{app}_token = apis.{app}.{login}(username=profile["{username}"], '
            f'password=passwords["{app}"])["access_token"]\n'
            f'print("logged in to {app}")'
        )

    return ScriptStep(
        kind="login",
        apps=["supervisor", app],
        goals=[f"Log in to {app}.", f"Get an access token for {app}.", f"Sign in to the {app} app."],
        plans=[
            f"Read the password from supervisor, log in with the {said[field]}, keep {app}_token.",
            f"Use the {said[field]} and the password from supervisor; store the token as {app}_token.",
        ],
        lookups=[("supervisor", "show_account_passwords"), (app, "login")],
        code=code(field, "login"),
        result=f"logged in to {app}",
        mistakes=[
            Mistake(
                "wrong_argument",
                code(wrong_field, "login"),
                f"The login failed: {app} wants the {said[field]} as username, not the {said[wrong_field]}.",
            ),
            Mistake("wrong_api", code(field, "sign_in"), f"{app} has no API sign_in; use login."),
        ],
    )


def collect_step(
    app: str, api: str, variable: str, count: int, goals: list[str], arguments: dict[str, str] | None = None
) -> ScriptStep:
    """The sub-task that reads a list page by page.

    Args:
        app: The app, logged in to before.
        api: The paged API.
        variable: Where the rows go; also what they are called.
        count: Number of rows that there are.
        goals: Wordings of the goal.
        arguments: Further arguments of the API and their literal values.
    """
    further = "".join(f"{name}={value!r}, ".replace("'", '"') for name, value in (arguments or {}).items())

    def code(api: str) -> str:
        return (
            f"{variable} = []\n"
            f"for page in range({_PAGES}):\n"
            f"    {variable} += apis.{app}.{api}(access_token={app}_token, {further}"
            f"page_index=page, page_limit={PAGE_LIMIT})\n"
            f'print(len({variable}), "{variable}")'
        )

    mistakes = [Mistake("wrong_api", code(f"list_{variable}"), f"{app} has no API list_{variable}; use {api}.")]
    if count > PAGE_LIMIT:
        first_page = (
            f"{variable} = apis.{app}.{api}(access_token={app}_token, {further}page_limit={PAGE_LIMIT})\n"
            f'print(len({variable}), "{variable}")'
        )
        reason = f"Only the first page of {PAGE_LIMIT} {variable} was read; go through all pages."
        mistakes.append(Mistake("first_page_only", first_page, reason))
    return ScriptStep(
        kind="collect",
        apps=[app],
        goals=goals,
        plans=[
            f"Call {api} page by page with {app}_token and gather the rows in {variable}.",
            f"Loop over page_index with page_limit {PAGE_LIMIT}; add each page of {api} to {variable}.",
        ],
        lookups=[(app, api)],
        code=code(api),
        result=f"{count} {variable}",
        mistakes=mistakes,
    )


def beyond_first_page(rows: Sequence[object], chosen: Sequence[object]) -> bool:
    """Whether some of the chosen rows are missed by reading only the first page of a list, in the list's own order."""
    return any(row in rows[PAGE_LIMIT:] for row in chosen)


def without_token(code: str, app: str) -> str:
    """The code as somebody writes it who forgets to pass the access token."""
    return code.replace(f", access_token={app}_token", "")
