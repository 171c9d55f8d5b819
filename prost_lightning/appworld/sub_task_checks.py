"""Which of a task's reference sub-tasks a finished episode has done: the measure behind sub-task error rates.

A reference sub-task asks for API calls, each made at least once with success, and possibly for a value. Its checks come
from the generated world's script, or, for official data, from the calls of AppWorld's own solution, grouped by app.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from prost_lightning.appworld.data import load_script
from prost_lightning.trajectory import CheckedSubTask

#: Apps that serve every task. AppWorld does not count them among a task's apps either (``GroundTruth``).
_SERVICE_APPS = ("admin", "api_docs", "supervisor")
_HTTP_OK = 200
#: How AppWorld writes an execution to ``environment_io.md``.
_EXECUTION = re.compile(r"^```python\n.*?\n```\n\n```\n(.*?)\n```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class ReferenceSubTask:
    """One sub-task of a task's reference solution, with its check.

    Attributes:
        position: Place in the solution, from 1.
        kind: ``login``, ``collect``, ``read``, ``compute`` or ``write``.
        apps: The apps that it touches.
        calls: APIs that must have been called with success, as ``spotify.login``.
        value: What must have been printed or answered; None where the calls are all.
    """

    position: int
    kind: str
    apps: tuple[str, ...]
    calls: tuple[str, ...]
    value: str | None = None


class _Call(msgspec.Struct, frozen=True):
    """A line of an API log. ``status``, the HTTP status, is added by our engine; without a response there is none."""

    method: str
    url: str
    data: Any = None
    status: int | None = None


class ApiNames:
    """Names APIs by method and URL.

    Args:
        documents: For each app, its API documents by name, as in a world's ``api_docs/standard/<app>.json``.
    """

    def __init__(self, documents: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        self._patterns: dict[str, list[tuple[re.Pattern[str], str]]] = {}
        every = [(app, name, document) for app, apis in documents.items() for name, document in apis.items()]
        # A path with fewer parameters is the more specific one: `/songs/liked` is not the song named "liked".
        for app, name, document in sorted(every, key=lambda item: str(item[2]["path"]).count("{")):
            parts = re.split(r"\{\w+\}", document["path"].rstrip("/"))
            pattern = re.compile("[^/]+".join(map(re.escape, parts)))
            self._patterns.setdefault(document["method"].lower(), []).append((pattern, f"{app}.{name}"))

    def name(self, method: str, url: str) -> str | None:
        """Finds the API behind a request.

        Args:
            method: HTTP method, in any case.
            url: Path, or whole URL, with or without a query.

        Returns:
            As ``spotify.show_song``; None where there is no such API.
        """
        path = urlsplit(url).path.rstrip("/")
        return next((name for pattern, name in self._patterns.get(method.lower(), ()) if pattern.fullmatch(path)), None)


@cache
def api_names(root: Path) -> ApiNames:
    """The APIs of a world, by its own documents; read once a process."""
    files = sorted((root / "data" / "api_docs" / "standard").glob("*.json"))
    return ApiNames({file.stem: msgspec.json.decode(file.read_bytes()) for file in files})


def reference_sub_tasks(root: Path, task_id: str) -> list[ReferenceSubTask]:
    """The sub-tasks of a task's reference solution.

    Args:
        root: World root, ground truth included.
        task_id: As ``82e2fac_1``.

    Returns:
        The sub-tasks in order. None where the data keep the solution to themselves, as AppWorld's test splits do.
    """
    truth = root / "data" / "tasks" / task_id / "ground_truth"
    if (truth / "script.json").is_file():
        return [
            ReferenceSubTask(position, step.kind, tuple(step.apps), tuple(step.check.calls), step.check.value)
            for position, step in enumerate(load_script(root, task_id).steps, start=1)
        ]
    path = truth / "api_calls.json"
    if not path.is_file():
        return []
    return group_by_app(msgspec.json.decode(path.read_bytes(), type=list[_Call] | None) or [], api_names(root))


def group_by_app(calls: list[_Call], names: ApiNames) -> list[ReferenceSubTask]:
    """Cuts a solution's calls into runs of one app: each run is a sub-task.

    Calls of the apps that serve every task (passwords, API documents, completing the task) belong to no run.
    """
    methods = {name: call.method for call in calls if (name := names.name(call.method, call.url))}
    worked = [name for call in calls if (name := names.name(call.method, call.url)) and _app(name) not in _SERVICE_APPS]
    return [
        ReferenceSubTask(position, _kind(required := dict.fromkeys(run), methods), (app,), tuple(required))
        for position, (app, run) in enumerate(groupby(worked, key=_app), start=1)
    ]


def _app(name: str) -> str:
    return name.partition(".")[0]


def _kind(required: Iterable[str], methods: Mapping[str, str]) -> str:
    """What sort of work calls of one app are."""
    beyond_login = {methods[name].lower() for name in required if not name.endswith(".login")}
    if not beyond_login:
        return "login"
    return "collect" if beyond_login == {"get"} else "write"


def check_sub_tasks(root: Path, task_id: str, episode: Path, *, solved: bool) -> list[CheckedSubTask]:
    """Checks which reference sub-tasks an episode has done.

    The engine's process writes the logs, not the one of the model's code. They are read with distrust all the same:
    where the system offers no isolation, both run as the same user.

    Args:
        root: World root, ground truth included.
        task_id: As ``82e2fac_1``.
        episode: Where AppWorld saved the episode.
        solved: Whether the evaluator passed it. A state that is right proves every value, printed or not.

    Returns:
        One verdict a reference sub-task, in order.
    """
    references = reference_sub_tasks(root, task_id)
    if not references:
        return []
    calls = [call for call in _read_calls(episode / "logs" / "api_calls.jsonl") if call.status == _HTTP_OK]
    names = api_names(root)
    made = {names.name(call.method, call.url) for call in calls}
    shown = _outputs(episode / "logs" / "environment_io.md")
    shown += [str(call.data["answer"]) for call in calls if isinstance(call.data, dict) and "answer" in call.data]
    return [
        CheckedSubTask(
            position=reference.position,
            kind=reference.kind,
            apps=list(reference.apps),
            passed=made.issuperset(reference.calls)
            and (solved or reference.value is None or any(shows(text, reference.value) for text in shown)),
        )
        for reference in references
    ]


def none_done(root: Path, task_id: str) -> list[CheckedSubTask]:
    """The verdicts on an episode that left nothing that could be judged."""
    references = reference_sub_tasks(root, task_id)
    return [CheckedSubTask(item.position, item.kind, list(item.apps), passed=False) for item in references]


def shows(text: str, value: str) -> bool:
    """Whether a text shows a value as a whole: `4` is in "4 tasks", not in "14", "4.5" or "4th"."""
    return re.search(rf"(?<![\w.-]){re.escape(value)}(?!\w|\.\d)", text) is not None


def _read_calls(path: Path) -> Iterator[_Call]:
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=_Call)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # not written by AppWorld, so no call


def _outputs(path: Path) -> list[str]:
    """What an episode's executions printed."""
    if path.is_symlink() or not path.is_file():
        return []
    return _EXECUTION.findall(path.read_text(errors="replace"))
