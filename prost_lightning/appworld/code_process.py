"""The process that runs a model's code: a Python shell as AppWorld's, whose API calls go to the engine's process.

It holds no database, no task and no file to write to. So the only thing that code can change in the world, and the only
way to learn about it, is an API call, as it is for an agent in the real world.
"""

from __future__ import annotations

import builtins
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import httpx
from appworld import AppWorld, requester
from appworld.apps import get_all_apps
from appworld.common.safety_guard import SafetyGuard
from appworld.environment import AppWorldInitDefaults
from IPython.terminal.embed import InteractiveShellEmbed
from traitlets.config.loader import Config

from prost_lightning.appworld.channel import Channel
from prost_lightning.appworld.truncation import truncate


def serve(channel: Channel, *, now: str, execute_seconds: float, output_chars: int) -> None:
    """Runs the code that comes through a channel, until the channel closes.

    Args:
        channel: To the engine's process.
        now: The world's date and time, in ISO format.
        execute_seconds: Wall seconds of one execution, after which AppWorld interrupts it.
        output_chars: Longest output that is sent back, in characters.
    """
    world = _CodeWorld(channel, datetime.fromisoformat(now), max(1, round(execute_seconds)))
    channel.send({"ready": True})
    while True:
        message = channel.receive()
        if "code" in message:
            output = str(world.execute(message["code"]))
            shown = truncate(output, output_chars)
            channel.send({"output": shown, "truncated": shown != output})
            world.environment_io.clear()


@cache
def shell() -> InteractiveShellEmbed:
    """The shell that AppWorld would make; made once in the worker's process, it is new in each of its children."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShellEmbed(config=config)
    shell.ast_node_interactivity = "none"
    return shell


class _CodeWorld(AppWorld):  # type: ignore[misc]
    """AppWorld's ``execute`` without a world: no databases, nothing saved."""

    def __init__(self, channel: Channel, now: datetime, execute_seconds: int) -> None:
        for name, value in AppWorldInitDefaults():
            setattr(self, name, value)
        self.timeout_seconds = execute_seconds
        self.max_api_calls_per_interaction = self.init_defaults.max_api_calls_per_interaction
        self.task = SimpleNamespace(datetime=now, allowed_apps=get_all_apps(skip_admin=True))
        self.models_to_db_home_path = self.models_from_db_home_path = ""
        self.output_db_home_path_on_disk = ""
        self.environment_io: list[dict[str, str]] = []
        self.num_interactions = 0
        self.shell = shell()
        client = _EngineClient(channel)
        requester.Requester._get_client = lambda _: client
        requester.set_local_dbs = lambda *_, **__: None
        self._execute_preamble()
        self.safety_guard = SafetyGuard()

    def _save_state(self, directory: str) -> None:
        """The engine's process does."""

    def save_logs(self) -> None:
        """The engine's process does."""


class _EngineClient:
    """Stands where AppWorld's requester has its HTTP client."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0

    def get(self, url: str, params: Any = None, headers: Any = None) -> httpx.Response:
        return self._send("get", url, "params", params, headers)

    def delete(self, url: str, params: Any = None, headers: Any = None) -> httpx.Response:
        return self._send("delete", url, "params", params, headers)

    def post(self, url: str, json: Any = None, data: Any = None, headers: Any = None) -> httpx.Response:
        return self._send("post", url, *(("json", json) if data is None else ("data", data)), headers)

    def put(self, url: str, json: Any = None, headers: Any = None) -> httpx.Response:
        return self._send("put", url, "json", json, headers)

    def patch(self, url: str, json: Any = None, headers: Any = None) -> httpx.Response:
        return self._send("patch", url, "json", json, headers)

    def _send(self, method: str, url: str, place: str, content: Any, headers: dict[str, str] | None) -> httpx.Response:
        self._number += 1
        request = {
            "request": self._number,
            "method": method,
            "url": url,
            "place": place,
            # What HTTP carries outside JSON it carries as text, whatever it is.
            "content": json.dumps(content) if place == "json" else json.dumps(content, default=str),
            "token": (headers or {}).get("Authorization", "").removeprefix("Bearer "),
        }
        with _without_alarm():
            self._channel.send(request)
            # An answer that an exception kept from being read may still wait.
            while (answer := self._channel.receive()).get("answer") != self._number:
                pass
        if "raised" in answer:
            raise _exception(answer["raised"], answer["detail"])
        return httpx.Response(answer["status"], headers={"content-type": "application/json"}, text=answer["text"])


@contextmanager
def _without_alarm() -> Iterator[None]:
    """Keeps AppWorld's interruption until later, so that no answer is lost half-read."""
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def _exception(name: str, detail: str) -> Exception:
    """The exception that the engine raised, as well as it can be told from its name."""
    found = getattr(builtins, name, None)
    kind = found if isinstance(found, type) and issubclass(found, Exception) else type(name, (Exception,), {})
    try:
        error: Exception = kind(detail)
        return error
    except TypeError:  # A UnicodeError, say, cannot be made of its text alone.
        return Exception(f"{name}: {detail}")
