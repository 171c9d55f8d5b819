"""Episodes on AppWorld's own HTTP server, in AppWorld's Docker image for instance: one at a time a server.

The server has no protection of its own: whoever reaches its port runs code in it. So it must be bound to loopback, and
this client talks to no other host. docs/workers.md has the commands.

Example:
    async with AppWorldServer("http://127.0.0.1:8000") as server, server.open("82e2fac_1", "my-experiment") as session:
        observation = await session.execute("print(apis.supervisor.show_profile())")
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import httpx

from prost_lightning.appworld.engine import EngineError, EngineLimits, Observation, TaskInfo
from prost_lightning.appworld.truncation import truncate
from prost_lightning.errors import UserError

_DEFAULT_LIMITS = EngineLimits()
# After a request that failed, the server closes the connection, perhaps when the next request is on its way already.
_NO_REUSE = httpx.Limits(max_keepalive_connections=0)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DESCRIPTIONS = "import json\nprint(json.dumps(apis.api_docs.show_app_descriptions()))"
_STATUS = "print(apis.supervisor.show_active_task()['status'])"


class AppWorldServer:
    """Opens episodes on a running ``appworld serve environment``, which holds one at a time.

    What an episode leaves behind is saved below the server's own root. Of the limits, those that need hold of the
    server's process (memory, file size, killing what overruns) are not kept: an execution that does not end leaves the
    server stuck, and it must be started again.

    Args:
        url: The server's, on this machine.
        limits: What one episode may use.

    Raises:
        UserError: The URL leads to another machine.
    """

    #: Episodes at once.
    episodes = 1

    def __init__(self, url: str, limits: EngineLimits = _DEFAULT_LIMITS) -> None:
        if httpx.URL(url).host not in _LOOPBACK:
            raise UserError(f"{url}: AppWorld's server must run on this machine; use http://127.0.0.1:PORT.")
        self._limits = limits
        self._slot = asyncio.Semaphore(self.episodes)
        # Without the proxies of the environment: nothing here is for them.
        self._client = httpx.AsyncClient(base_url=url, timeout=None, trust_env=False, limits=_NO_REUSE)

    @asynccontextmanager
    async def open(
        self, task_id: str, experiment: str, limits: EngineLimits | None = None
    ) -> AsyncIterator[ServerSession]:
        """Plays an episode in an ``async with`` block, at whose end it is closed; see :meth:`start`."""
        session = await self.start(task_id, experiment, limits)
        try:
            yield session
        finally:
            await session.close()

    async def start(self, task_id: str, experiment: str, limits: EngineLimits | None = None) -> ServerSession:
        """Starts an episode, once the last one is closed.

        Args:
            task_id: As ``82e2fac_1``.
            experiment: Name under which the server saves the episode.
            limits: What this episode may use, if not what the others may.

        Returns:
            The episode, to be closed by the caller.

        Raises:
            EngineError: There is no server, or it cannot open the task.
        """
        await self._slot.acquire()
        session = ServerSession(self._client, self._slot, task_id, experiment, limits or self._limits)
        await session.begin()
        return session

    async def close(self) -> None:
        """Closes the connections; the server goes on."""
        await self._client.aclose()

    async def __aenter__(self) -> AppWorldServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class ServerSession:
    """One episode on a server; it behaves like :class:`prost_lightning.appworld.pool.EngineSession`.

    Attributes:
        task: What the agent is told about the task.
        experiment: Name under which the server saves the episode.
        closed: Whether the episode is over.
    """

    def __init__(
        self, client: httpx.AsyncClient, slot: asyncio.Semaphore, task_id: str, experiment: str, limits: EngineLimits
    ) -> None:
        self._client = client
        self._slot = slot
        self._task_id = task_id
        self._limits = limits
        self._deadline = time.monotonic() + limits.episode_seconds
        self.experiment = experiment
        self.closed = False
        self.task: TaskInfo

    async def begin(self) -> None:
        """Has the world opened.

        Raises:
            EngineError: There is no server, or it cannot open the task.
        """
        settings = {
            "experiment_name": self.experiment,
            "load_ground_truth": False,
            "timeout_seconds": max(1, round(self._limits.execute_seconds)),
        }
        seconds = self._limits.open_seconds
        told = await self._post("initialize", seconds, "env_error", **settings)
        descriptions = json.loads(await self._post("execute", seconds, "env_error", code=_DESCRIPTIONS))
        self.task = TaskInfo(
            task_id=told["task_id"],
            instruction=told["instruction"],
            **told["supervisor"],
            datetime=told["datetime"],
            app_descriptions={app["name"]: app["description"] for app in descriptions},
        )

    async def execute(self, code: str) -> Observation:
        """Runs Python in the world; see :meth:`prost_lightning.appworld.pool.EngineSession.execute`.

        Raises:
            EngineError: The server died, hung or failed. The session is closed then.
        """
        started = time.monotonic()
        seconds, reason = self._limits.execute_seconds + self._limits.grace_seconds, "limit:execute_seconds"
        if self._deadline - started < seconds:
            seconds, reason = max(0.0, self._deadline - started), "limit:episode_seconds"
        output = str(await self._post("execute", seconds, reason, code=code))
        completed = bool(await self._post("task_completed", seconds, reason))
        gave_up = completed and (await self._post("execute", seconds, reason, code=_STATUS)).strip() == "fail"
        shown = truncate(output, self._limits.output_chars)
        return Observation(
            output=shown,
            error=output.startswith("Execution failed."),
            truncated=shown != output,
            completed=completed,
            seconds=time.monotonic() - started,
            gave_up=gave_up,
        )

    async def close(self) -> None:
        """Closes the world, where the server still answers."""
        if not self.closed:
            try:
                await self._post("close", self._limits.grace_seconds, "env_error")
            except EngineError:
                return  # It is closed by that.
            self._end()

    async def _post(self, action: str, seconds: float, late_reason: str, **arguments: Any) -> Any:
        """Asks the server; not to get an answer ends the episode."""
        if self.closed:
            raise EngineError("env_error", "this episode's engine is closed")
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.post(f"/{action}", json={"task_id": self._task_id, **arguments})
            return response.raise_for_status().json()["output"]
        except TimeoutError as error:
            self._end()
            raise EngineError(late_reason, f"the server did not {action} within {seconds:.1f} s") from error
        except httpx.TransportError as error:
            self._end()
            raise EngineError("env_error", f"no server at {self._client.base_url}: {error}", lost=True) from error
        except (httpx.HTTPStatusError, ValueError, LookupError) as error:
            self._end()
            raise EngineError("env_error", f"the server could not {action} {self._task_id}: {error}") from error
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        self.closed = True
        self._slot.release()
