"""The vocabulary of the templates: sub-tasks whose code, mistakes and checks follow from few words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from prost_lightning.miniworld.contents import PAGE_LIMIT
from prost_lightning.miniworld.script import Mistake, ScriptStep, SubTaskCheck

# The longest list in the world has 64 rows.
_PAGES = 5
_CALL = re.compile(r"apis\.(\w+)\.(\w+)\(")
_READING = re.compile(r"show_|search_|get_|directory_exists|file_exists")
# What somebody might call an API who has not read the documents.
_VERBS = {
    "accept": "take", "add": "insert", "approve": "accept", "attach": "append", "clear": "empty", "copy": "duplicate",
    "create": "make", "delete": "erase", "deny": "reject", "download": "fetch", "follow": "track", "forward": "resend",
    "get": "read", "initiate": "start", "label": "tag", "like": "favorite", "mark": "flag", "move": "transfer",
    "place": "submit", "play": "start", "post": "publish", "record": "log", "remove": "drop", "reply": "answer",
    "review": "rate", "search": "find", "send": "write", "set": "change", "settle": "pay", "show": "list",
    "subscribe": "join", "unfollow": "untrack", "unlike": "dislike", "update": "edit", "withdraw": "draw",
    "write": "publish",
}  # fmt: skip
# What a compute sub-task may get the wrong way round; the first that its code has is swapped.
_SWAPS = (
    ("max(", "min("), ("min(", "max("), (" >= ", " < "), (" <= ", " > "), (" > ", " < "), (" < ", " > "),
    (" != ", " == "), (" == ", " != "), (" not in ", " in "), (" in ", " not in "),
)  # fmt: skip


def quoted(value: str) -> str:
    """A text as a Python literal in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def call(app: str, api: str, **arguments: str) -> str:
    """A call of an API with the app's token.

    Args:
        app: The app, logged in to before.
        api: The API.
        arguments: Its arguments as Python expressions; use :func:`quoted` for texts.
    """
    parts = [f"{name}={value}" for name, value in arguments.items()]
    return f"apis.{app}.{api}({', '.join([*parts, f'access_token={app}_token'])})"


def keep(rows: str, condition: str, into: str = "matches") -> str:
    """The line that filters a list: ``keep("songs", 's["duration"] > 500')``; the item is the list's first letter."""
    return f"{into} = [{rows[0]} for {rows[0]} in {rows} if {condition}]"


def find(app: str, api: str, rows: str, item: str, field: str, value: str, **arguments: str) -> list[str]:
    """The two lines that search for one row by its exact name and leave it in ``item``; ``value`` is a plain text."""
    return [
        f"{rows} = {call(app, api, query=quoted(value), **arguments)}",
        f"{item} = [{rows[0]} for {rows[0]} in {rows} if {rows[0]}[{quoted(field)}] == {quoted(value)}][0]",
    ]


def for_each(rows: str, item: str, *body: str) -> list[str]:
    """The lines of a loop over a list."""
    return [f"for {item} in {rows}:", *(f"    {line}" for line in body)]


def step(
    kind: str,
    app: str,
    goals: Sequence[str],
    how: str,
    code: Sequence[str],
    result: str,
    *,
    wrong: tuple[str, str, str] | None = None,
    value: str | None = None,
) -> ScriptStep:
    """A sub-task of any kind.

    Mistakes follow from the code: an access token left out, an API that does not exist, and, where the kind is
    ``compute``, a comparison the wrong way round.

    Args:
        kind: ``collect``, ``read``, ``compute`` or ``write``.
        app: The app that it is about.
        goals: Two or more wordings of the goal, each naming every parameter that the code needs.
        how: The plan in a few words, as ``keep the songs by Nova Reyes, take the longest by duration``.
        code: Its lines; the last prints one line.
        result: Exactly what it prints.
        wrong: A part of the code, what somebody might write instead, and the critic's sentence about that. In a write
            it must fail before anything changed.
        value: What any solution of the sub-task must report; by default the result where the kind is ``compute``.
    """
    source = "\n".join(code)
    apis = list(dict.fromkeys(_CALL.findall(source)))
    writes = [f"{name}.{api}" for name, api in apis if not _READING.match(api)]
    value = value or (result if kind == "compute" else None)
    calls = writes if writes or value else [f"{name}.{api}" for name, api in apis]
    return ScriptStep(
        kind=kind,
        apps=list(dict.fromkeys([app, *(name for name, _ in apis)])),
        goals=list(goals),
        plans=_plans(how, [api for _, api in apis]),
        lookups=apis or [(app, "login")],
        code=source,
        result=result,
        mistakes=_mistakes(kind, source, apis, wrong),
        check=SubTaskCheck(calls, value),
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
        check=SubTaskCheck([f"{app}.login"]),
    )


def collect_step(app: str, api: str, rows: str, count: int, what: str, **arguments: str) -> ScriptStep:
    """The sub-task that reads a list page by page.

    Args:
        app: The app, logged in to before.
        api: The paged API.
        rows: Name of the variable where the rows go; also what they are called.
        count: Number of rows that there are.
        what: What they are in full, as ``songs of the Spotify song library``.
        arguments: Further arguments of the API as Python expressions.
    """
    further = "".join(f"{name}={value}, " for name, value in arguments.items())
    head = f"apis.{app}.{api}(access_token={app}_token, {further}"
    code = [
        f"{rows} = []",
        f"for page in range({_PAGES}):",
        f"    {rows} += {head}page_index=page, page_limit={PAGE_LIMIT})",
        f'print(len({rows}), "{rows}")',
    ]
    mistakes = [Mistake("wrong_api", _wrong_api("\n".join(code), app, api), _no_such_api(app, api))]
    if count > PAGE_LIMIT:
        mistakes.append(
            Mistake(
                "first_page_only",
                f'{rows} = {head}page_limit={PAGE_LIMIT})\nprint(len({rows}), "{rows}")',
                f"Only the first page of {PAGE_LIMIT} {rows} was read; go through all pages.",
            )
        )
    return ScriptStep(
        kind="collect",
        apps=[app],
        goals=[f"Collect all {what}.", f"Get every one of the {what}.", f"List all {what}."],
        plans=[
            f"Call {api} page by page with {app}_token and gather the rows in {rows}.",
            f"Loop over page_index with page_limit {PAGE_LIMIT}; add each page of {api} to {rows}.",
        ],
        lookups=[(app, api)],
        code="\n".join(code),
        result=f"{count} {rows}",
        mistakes=mistakes,
        check=SubTaskCheck([f"{app}.{api}"]),
    )


def write_each(
    app: str,
    api: str,
    rows: str,
    item: str,
    condition: tuple[str, str],
    goals: Sequence[str],
    result: str,
    **arguments: str,
) -> ScriptStep:
    """The sub-task that filters a list and changes something for each row that is left.

    Args:
        app: The app, logged in to before.
        api: The API to call for each row.
        rows: The list, as ``songs``; its first letter is the item of the condition.
        item: Name of the loop's variable, as ``song``.
        condition: The condition in Python and in words, as ``('s["duration"] > 500', "duration above 500")``.
        goals: Two or more wordings of the goal.
        result: What it prints: the number of rows and what was done, as ``5 songs liked``.
        arguments: The API's arguments as Python expressions.
    """
    _, _, done = result.partition(" ")
    return step(
        "write",
        app,
        goals,
        f"keep the {rows} with {condition[1]}, call {api} for each",
        [
            keep(rows, condition[0]),
            *for_each("matches", item, call(app, api, **arguments)),
            f'print(len(matches), "{done}")',
        ],
        result,
    )


def _plans(how: str, apis: Sequence[str]) -> list[str]:
    named = f" Needed: {', '.join(apis)}." if apis else " The variables at hand suffice."
    return [f"{how[0].upper()}{how[1:]}.", f"{how[0].upper()}{how[1:]}.{named}"]


def _mistakes(
    kind: str, source: str, apis: Sequence[tuple[str, str]], wrong: tuple[str, str, str] | None
) -> list[Mistake]:
    mistakes = []
    if wrong is not None:
        assert wrong[0] in source, f"{wrong[0]!r} is not in the code"
        mistakes.append(Mistake("wrong_argument", source.replace(wrong[0], wrong[1]), wrong[2]))
    if apis:
        app, api = apis[0]
        tokenless = re.sub(rf"(, )?access_token={app}_token(, )?", "", source)
        if tokenless != source:
            mistakes.append(Mistake("missing_login", tokenless, f"{api} needs access_token={app}_token."))
        mistakes.append(Mistake("wrong_api", _wrong_api(source, app, api), _no_such_api(app, api)))
    if kind == "compute" and wrong is None:
        swap = next(((right, other) for right, other in _SWAPS if right in source), None)
        if swap is not None:
            said = [part.strip(" (") for part in swap]
            reason = f"The code has {said[1]} where the goal needs {said[0]}."
            mistakes.append(Mistake("wrong_argument", source.replace(swap[0], swap[1], 1), reason))
    return mistakes


def _other_name(api: str) -> str:
    verb, _, rest = api.partition("_")
    return f"{_VERBS.get(verb, f'do_{verb}')}_{rest}"


def _wrong_api(source: str, app: str, api: str) -> str:
    return source.replace(f"apis.{app}.{api}(", f"apis.{app}.{_other_name(api)}(")


def _no_such_api(app: str, api: str) -> str:
    return f"{app} has no API {_other_name(api)}; use {api}."
