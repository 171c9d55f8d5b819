"""Answers an opened world's API requests fast. Imports ``appworld``: for subprocesses only.

AppWorld sends each request through Starlette's test client, which hands it to an event loop in a second thread and the
API's function to a third. A build makes some hundred thousand requests, one after another and mostly the same again. So
here the caller's thread does all of it; and what was requested before, of databases as they are now, is answered as it
was then, and changes what it changed then. The apps, their routes and their validation stay what they are.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import inspect
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import fastapi_login.fastapi_login
from appworld.apps.model_lib import ModelHashHandler

# Their data are those of the task; no other app reads them, and they read no other.
_APPS_OF_THE_TASK = ("admin", "supervisor")
_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class _Effect:
    """What a request did.

    Attributes:
        response: Its response.
        changes: What it changed in the databases, by app, in the form of AppWorld's own change logs.
        counts: How often each model had been changed afterwards, by app; of the apps that it changed.
    """

    response: Any
    changes: dict[str, list[Any]]
    counts: dict[str, Counter[str]]


class FastRequests:
    """Makes the requests of one world after another fast; remembers what they did.

    It may serve worlds of one data root only.
    """

    def __init__(self) -> None:
        self._portal = _Portal()
        self._remembered: dict[bytes, _Effect] = {}

    def serve(self, world: Any) -> None:
        """Makes the requests of a world fast until it is closed.

        The functions that asynchronous code would leave to threads run in place from now on, in the whole process.

        Args:
            world: An ``AppWorld``, just opened.
        """
        for module in (anyio.to_thread, fastapi_login.fastapi_login):
            module.run_sync = _run_in_this_thread  # type: ignore[attr-defined]
        client = world.requester.client
        client._transport.portal_factory = lambda: contextlib.nullcontext(self._portal)
        databases = _Databases(world)
        # What happens to changed databases is of no use to other worlds.
        remembered_here: dict[bytes, _Effect] = {}

        def once(method: str) -> Callable[..., Any]:
            send = getattr(client, method)

            def send_once(url: str, **arguments: Any) -> Any:
                of_the_task = url.startswith(_APPS_OF_THE_TASK)
                state = databases.state(of_the_task)
                content = {name: value for name, value in arguments.items() if name != "headers"}
                request = (method, url, content, _reader(arguments["headers"]), state)
                key = hashlib.sha256(repr(request).encode()).digest()
                effect = self._remembered.get(key) or remembered_here.get(key)
                if effect is not None:
                    databases.repeat(effect)
                    return effect.response
                effect = databases.watch(lambda: send(url, **arguments))
                if of_the_task or effect.changes or any(state):
                    remembered_here[key] = effect
                else:
                    self._remembered[key] = effect
                return effect.response

            return send_once

        for method in _METHODS:
            setattr(client, method, once(method))


class _Databases:
    """The databases of an opened world."""

    def __init__(self, world: Any) -> None:
        self._home: str = world.models.to_db_home_path
        self._databases = {app: models.SQLModel.db for app, models in world.models.items()}

    def state(self, of_the_task: bool) -> list[list[Any]]:
        """What was changed since the world was opened; with the databases at the start all that an answer needs.

        Args:
            of_the_task: In the apps of the task, otherwise in the others.
        """
        return [
            database.tracker.changes
            for app, database in self._databases.items()
            if (app in _APPS_OF_THE_TASK) == of_the_task
        ]

    def watch(self, send: Callable[[], Any]) -> _Effect:
        """Sends a request."""
        before = {app: len(database.tracker.changes) for app, database in self._databases.items()}
        response = send()
        changes = {
            app: database.tracker.changes[before[app] :]
            for app, database in self._databases.items()
            if len(database.tracker.changes) > before[app]
        }
        return _Effect(response, changes, {app: Counter(self._counts()[app]) for app in changes})

    def repeat(self, effect: _Effect) -> None:
        """Does to the databases what a request did, as AppWorld itself does when it loads a change log."""
        for app, changes in effect.changes.items():
            database = self._databases[app]
            for statement, parameters, of_many in changes:
                execute = database.connection.executemany if of_many else database.connection.execute
                execute(statement, parameters)
            database.connection.commit()
            database.tracker.changes.extend(changes)
            self._counts()[app] = Counter(effect.counts[app])

    def _counts(self) -> Any:
        return ModelHashHandler.data[self._home]


def _reader(headers: dict[str, str]) -> str:
    """Whose token the headers carry: each login yields another, and none expires while the clock stands."""
    token = headers.get("Authorization", "")
    try:
        payload = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"])
    except (IndexError, ValueError):
        return token


class _Portal:
    """What the test client knows as a portal to its event loop; nothing that an API does waits, so it needs none."""

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls a function, and runs what it returns to its end if that is a coroutine."""
        result = function(*args)
        if not inspect.iscoroutine(result):
            return result
        try:
            result.send(None)
        except StopIteration as end:
            return end.value
        raise RuntimeError("an API waits for something, which nothing here could bring")


async def _run_in_this_thread(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    return function(*args)
