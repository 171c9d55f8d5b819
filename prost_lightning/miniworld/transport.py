"""Answers an opened world's API requests fast. Imports ``appworld``: for subprocesses only.

AppWorld sends each request through Starlette's test client, which hands it to an event loop in a second thread and the
API's function to a third. A build makes some hundred thousand requests, one after another and mostly the same reads
again. So here the caller's thread does all of it, and a read or a login is answered as it was before where the
databases are as they were then. The apps, their routes and their validation stay what they are.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import inspect
import json
from collections.abc import Callable
from typing import Any

import anyio.to_thread

# Their data are those of the task, and no other app reads them.
_APPS_OF_THE_TASK = ("admin", "supervisor")
_LOGIN = "/auth/token"


class FastRequests:
    """Makes the requests of one world after another fast; remembers what was read in them.

    It may serve worlds of one data root only.
    """

    def __init__(self) -> None:
        self._portal = _Portal()
        self._remembered: dict[bytes, Any] = {}

    def serve(self, world: Any) -> None:
        """Makes the requests of a world fast until it is closed.

        The functions that asynchronous code would leave to threads run in place from now on, in the whole process.

        Args:
            world: An ``AppWorld``, just opened.
        """
        threads: Any = anyio.to_thread
        threads.run_sync = _run_in_this_thread
        client = world.requester.client
        client._transport.portal_factory = lambda: contextlib.nullcontext(self._portal)
        databases = [models.SQLModel.db for app, models in world.models.items() if app not in _APPS_OF_THE_TASK]

        def state() -> str:
            # The base databases and what was changed since then are all that an answer depends on.
            return repr([database.tracker.changes for database in databases])

        # What is read of changed databases is of no use to other worlds.
        remembered_here: dict[bytes, Any] = {}

        def once(send: Callable[..., Any]) -> Callable[..., Any]:
            def send_once(url: str, **arguments: Any) -> Any:
                is_read = send.__name__ == "get" or url.endswith(_LOGIN)
                if not is_read or url.startswith(_APPS_OF_THE_TASK):
                    return send(url, **arguments)
                before = state()
                remembered = remembered_here if any(d.tracker.changes for d in databases) else self._remembered
                content = {name: value for name, value in arguments.items() if name != "headers"}
                request = (url, content, _reader(arguments["headers"]), before)
                key = hashlib.sha256(repr(request).encode()).digest()
                if key not in remembered:
                    response = send(url, **arguments)
                    if state() != before:
                        return response
                    remembered[key] = response
                return remembered[key]

            return send_once

        client.get, client.post = once(client.get), once(client.post)


def _reader(headers: dict[str, str]) -> str:
    """Whose token the headers carry: each login yields another, and none expires while the clock stands."""
    token = headers.get("Authorization", "")
    try:
        payload = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"])
    except (IndexError, ValueError):
        return token


class _Portal:
    """What the test client knows as a portal to its event loop: an event loop of the calling thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._loop.run_until_complete(_call(function, args))


async def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = function(*args)
    return await result if inspect.isawaitable(result) else result


async def _run_in_this_thread(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    return function(*args)
