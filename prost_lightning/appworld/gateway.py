"""The engine's side of the wall: answers the API calls that a model's code makes from its own process.

What comes through is not trusted. Only the APIs that AppWorld documents for agents are served, and only to somebody who
logged in: AppWorld signs access tokens with a key that is in its sources, so code could make one for any person.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from prost_lightning.appworld.channel import Channel, ChannelClosedError

if TYPE_CHECKING:
    import httpx
    from appworld import AppWorld

_UNKNOWN_TOKEN = "not-a-token"


class CodeProcessError(RuntimeError):
    """The process with the model's code is gone, gave up, or said what it never should.

    Attributes:
        reason: ``env_error`` or ``limit:memory``.
        lost: Whether it vanished without a word; see :class:`prost_lightning.appworld.engine.EngineError`.
    """

    def __init__(self, reason: str, detail: str, *, lost: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.lost = lost


class _Request(msgspec.Struct):
    request: int
    method: Literal["get", "post", "put", "patch", "delete"]
    url: str
    place: Literal["params", "json", "data"]
    content: str
    token: str


class Outcome(msgspec.Struct):
    """What an execution came to, as the process with the code tells it.

    Attributes:
        output: What it printed, or AppWorld's message about the error that it raised.
        truncated: Whether the output was shortened.
    """

    output: str
    truncated: bool


class Gateway:
    """Has code run by the process at the other end of a channel, and answers its API calls meanwhile.

    Args:
        world: The open world.
        channel: To the process that runs the code.

    Attributes:
        served: API calls answered so far.
        completing: Whether one of them may have completed the task.
    """

    def __init__(self, world: AppWorld, channel: Channel) -> None:
        self._world = world
        self._channel = channel
        self._apps = frozenset(world.task.allowed_apps)
        self._tokens: set[str] = set()
        self.served = 0
        self.completing = False

    def wait_until_ready(self) -> None:
        """Waits until the process can take code.

        Raises:
            CodeProcessError: It failed.
        """
        self._receive()

    def execute(self, code: str) -> Outcome:
        """Runs code.

        Args:
            code: Python.

        Raises:
            CodeProcessError: The process failed.
        """
        self._send({"code": code})
        while True:
            message = self._receive()
            try:
                if "request" not in message:
                    return msgspec.convert(message, Outcome)
                request = msgspec.convert(message, _Request)
            except msgspec.ValidationError as error:
                raise CodeProcessError("env_error", f"the code's process answered nonsense: {error}") from error
            self._send({"answer": request.request, **self._answer(request)})

    def _answer(self, request: _Request) -> dict[str, Any]:
        self.served += 1
        try:
            response = self._call(request, json.loads(request.content))
            return {"status": response.status_code, "text": response.text}
        except MemoryError:
            raise
        except Exception as error:
            # The API's own error, which AppWorld would have raised in the code itself.
            return {"raised": type(error).__name__, "detail": str(error)}

    def _call(self, request: _Request, content: Any) -> httpx.Response:
        requester = self._world.requester
        path = requester.client.build_request(request.method, request.url).url
        app, *rest = path.path.removeprefix("/").split("/")
        if path.host != "testserver" or app not in self._apps or ".." in rest:
            return _refusal(f"No app named '{app}' found.")
        self.completing |= app == "supervisor" and request.method != "get"
        body = dict(content or {})
        token = {"access_token": request.token} if request.token else {}
        tracker = requester.request_tracker
        tracker.add_request(request.method, f"/{request.url.removeprefix('/')}", body | token)
        known = request.token if request.token in self._tokens else _UNKNOWN_TOKEN
        headers = {"Authorization": f"Bearer {known}"} if request.token else {}
        response: httpx.Response = requester.client.request(
            request.method, request.url, headers=headers, **{request.place: body}
        )
        # AppWorld's own log does not tell success.
        tracker.requests[-1]["status"] = response.status_code
        if response.status_code == 200 and rest[-2:] == ["auth", "token"]:
            self._tokens.add(response.json()["access_token"])
        return response

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(message)
        except ChannelClosedError as error:
            raise CodeProcessError("env_error", f"the code's process is gone: {error}", lost=True) from error

    def _receive(self) -> dict[str, Any]:
        try:
            message = self._channel.receive()
        except ChannelClosedError as error:
            raise CodeProcessError("env_error", "the code's process died", lost=True) from error
        except ValueError as error:
            raise CodeProcessError("env_error", f"the code's process answered nonsense: {error}") from error
        if "failed" in message:
            reason = "limit:memory" if message["failed"] == "limit:memory" else "env_error"
            raise CodeProcessError(reason, str(message.get("detail")))
        return message


def _refusal(message: str) -> httpx.Response:
    import httpx

    return httpx.Response(404, json={"message": message})
