"""Episodes on the real AppWorld engine, each in a fresh process that can be killed, many at once on one event loop.

Example:
    async with AppWorldPool(root, output_dir) as pool, pool.open("82e2fac_1", "my-experiment") as session:
        observation = await session.execute("print(apis.supervisor.show_profile())")

Code without an event loop uses :class:`prost_lightning.appworld.blocking.BlockingPool`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from prost_lightning.appworld.channel import AsyncChannel, ChannelClosedError
from prost_lightning.appworld.engine import EngineError, EngineLimits, Observation, TaskInfo
from prost_lightning.appworld.launcher import Job, Launcher, WorkerStartError
from prost_lightning.appworld.protections import Sandbox
from prost_lightning.appworld.truncation import truncate
from prost_lightning.errors import UserError

#: Why an episode's process may say that it ended: a model's code can write into its channel, so nothing else is taken.
_FAILURES = ("env_error", "limit:memory")
_DETAIL_CHARS = 500
_FINISH_SECONDS = 5.0
_EXPERIMENT_NAME = re.compile(r"[\w.=+@-]*\w[\w.=+@-]*(/[\w.=+@-]*\w[\w.=+@-]*)*", re.ASCII)
_DEFAULT_LIMITS = EngineLimits()


@dataclass(frozen=True)
class _Executed:
    """What an episode's process says about one execution; see :class:`Observation`."""

    output: str
    error: bool
    truncated: bool
    completed: bool
    gave_up: bool


_Answer = TypeVar("_Answer", TaskInfo, _Executed)


class EngineSession:
    """One episode. Made by :meth:`AppWorldPool.open`; for one task at a time.

    Attributes:
        task: What the agent is told about the task.
        experiment: Name under which the episode is saved.
    """

    def __init__(self, process: _EpisodeProcess, task: TaskInfo, experiment: str, limits: EngineLimits) -> None:
        self._process = process
        self._limits = limits
        self._deadline = process.started + limits.episode_seconds
        self.task = task
        self.experiment = experiment

    async def execute(self, code: str) -> Observation:
        """Runs Python in the world.

        Args:
            code: The code; variables persist between calls.

        Returns:
            What it printed, or AppWorld's message about the error that it raised.

        Raises:
            EngineError: The process died, hung or ran into a limit. The session is closed then.
        """
        started = time.monotonic()
        seconds, reason = self._limits.execute_seconds + self._limits.grace_seconds, "limit:execute_seconds"
        if self._deadline - started < seconds:
            seconds, reason = self._deadline - started, "limit:episode_seconds"
        answer = await self._process.ask({"code": code}, _Executed, seconds, reason, "an execution")
        output = truncate(answer.output, self._limits.output_chars)
        return Observation(
            output=output,
            error=answer.error,
            truncated=answer.truncated or output != answer.output,
            completed=answer.completed,
            seconds=time.monotonic() - started,
            gave_up=answer.gave_up,
        )

    @property
    def closed(self) -> bool:
        """Whether the episode is over, by :meth:`close` or by an :class:`EngineError`."""
        return self._process.ended

    async def close(self) -> None:
        """Ends the episode's process. What was done so far is already saved."""
        await self._process.end()


class _EpisodeProcess:
    """The running process of one episode, asked one thing at a time.

    Args:
        launcher: Whose child it is.
        job: The child.
        channel: To the child.
        on_end: Called once it is over.
    """

    def __init__(self, launcher: Launcher, job: Job, channel: AsyncChannel, on_end: Callable[[], None]) -> None:
        self._launcher = launcher
        self._job = job
        self._channel = channel
        self._on_end = on_end
        self._ending: asyncio.Task[None] | None = None
        self.started = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether it is over, or about to be."""
        return self._ending is not None

    async def ask(
        self, question: dict[str, Any] | None, kind: type[_Answer], seconds: float, late_reason: str, what: str
    ) -> _Answer:
        """Sends a message (None: it speaks unasked) and waits for the answer; not to get one ends the process."""
        if self.ended:
            raise EngineError("env_error", "this episode's engine is closed")
        try:
            if question is not None:
                await self._channel.send(question)
            answer = await self._channel.receive(max(0.0, seconds))
            if "failed" not in answer:
                return msgspec.convert(answer, kind)
            reason = answer["failed"] if answer["failed"] in _FAILURES else "env_error"
            detail = str(answer.get("detail") or "the engine's process gave no reason")
            failure = EngineError(reason, detail, lost=answer.get("lost") is True)
        except TimeoutError:
            failure = EngineError(late_reason, f"{what} did not end within {seconds:.1f} s")
        except ChannelClosedError as error:
            failure = EngineError("env_error", f"the engine's process died during {what} ({error})", lost=True)
        except ValueError as error:
            failure = EngineError("env_error", f"the engine's process answered nonsense: {error}")
        except BaseException:  # Ctrl-C, or a task that was cancelled: leave nothing running.
            await self.end(kill=True)
            raise
        await self.end(kill=True)
        raise EngineError(failure.end_reason, str(failure)[:_DETAIL_CHARS], lost=failure.lost)

    async def end(self, *, kill: bool = False) -> None:
        """Ends it: politely at first unless told otherwise, and in any case with SIGKILL to all of its processes."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(kill))
        await asyncio.shield(self._ending)

    async def _end(self, kill: bool) -> None:
        try:
            if not kill:
                await self._channel.finish(_FINISH_SECONDS)
            await asyncio.to_thread(self._launcher.end, self._job)
            if kill:
                # The file system must be at rest before anyone reads what the episode saved.
                await self._channel.finish(_FINISH_SECONDS)
        finally:
            self._channel.close()
            self._on_end()


class AppWorldPool:
    """Opens episodes on the AppWorld engine; for one event loop.

    One preloaded worker process forks a fresh, confined child for each episode: no network, no ground truth, nothing of
    this process's environment. Many pools, in one process or in several, may share a world and an output directory, if
    each uses experiment names of its own.

    Args:
        root: World root, the directory that has ``data/``.
        output_dir: Episodes are saved below it, in ``experiments/outputs/<experiment>/tasks/<task_id>/``, as AppWorld
            does; the worker's log is ``engine.log``.
        limits: What one episode may use, unless it is opened with others.
        episodes: Most episodes at once. Opening one more waits until one has ended.
        sandbox: ``auto`` uses what protections the system offers and says what is missing; ``strict`` refuses to run
            with less than all of them; ``off`` does without, for systems that get them wrong.
        without: Protections of :data:`prost_lightning.appworld.protections.PROTECTIONS` to do without.

    Raises:
        UserError: There is no world at ``root``, or ``episodes`` is below 1.
    """

    def __init__(
        self,
        root: Path,
        output_dir: Path,
        limits: EngineLimits = _DEFAULT_LIMITS,
        *,
        episodes: int = 8,
        sandbox: Sandbox = "auto",
        without: Collection[str] = (),
    ) -> None:
        if episodes < 1:
            raise UserError(f"an engine pool of {episodes} episodes: set it to 1 or more.")
        self.episodes = episodes
        self._slots = asyncio.Semaphore(episodes)
        self._limits = limits
        self._launcher = Launcher(
            root, output_dir, name="engine", with_ground_truth=False, sandbox=sandbox, without=without
        )

    @property
    def process_id(self) -> int:
        """Number of the worker process, for people who look at a process list."""
        return self._launcher.process_id

    @property
    def missing_protections(self) -> dict[str, str]:
        """Why not, for each protection that episodes run without; waits until the worker process is up."""
        return self._launcher.missing_protections

    @asynccontextmanager
    async def open(
        self, task_id: str, experiment: str, limits: EngineLimits | None = None
    ) -> AsyncIterator[EngineSession]:
        """Plays an episode in an ``async with`` block, at whose end it is closed; see :meth:`start`."""
        session = await self.start(task_id, experiment, limits)
        try:
            yield session
        finally:
            await session.close()

    async def start(self, task_id: str, experiment: str, limits: EngineLimits | None = None) -> EngineSession:
        """Starts an episode, once fewer than ``episodes`` run.

        Args:
            task_id: As ``82e2fac_1``.
            experiment: Name under which the episode is saved; an earlier episode of the same task and name is replaced.
            limits: What this episode may use, if not the pool's limits.

        Returns:
            The episode, to be closed by the caller.

        Raises:
            UserError: The world has no such task, the name cannot be a path, or the engine has never come up.
            EngineError: The engine died and does not come up again, or could not open the task.
        """
        self._launcher.check_task(task_id)
        if not _EXPERIMENT_NAME.fullmatch(experiment):
            raise UserError(f"experiment name {experiment!r}: use letters, digits and any of `_.=+@-`, parted by `/`.")
        limits = limits or self._limits
        job = {
            "kind": "episode",
            "task_id": task_id,
            "experiment": experiment,
            "output": str(self._launcher.episode_directory(experiment, task_id)),
            "limits": dataclasses.asdict(limits),
        }
        await self._slots.acquire()
        try:
            running = await asyncio.to_thread(self._launcher.submit, job)
            channel = await AsyncChannel.over(running.connection)
        except BaseException as error:
            self._slots.release()
            if isinstance(error, (WorkerStartError, OSError)):
                raise EngineError("env_error", str(error), lost=True) from error
            raise
        process = _EpisodeProcess(self._launcher, running, channel, self._slots.release)
        task = await process.ask(None, TaskInfo, limits.open_seconds, "env_error", "opening the world")
        return EngineSession(process, task, experiment, limits)

    async def close(self) -> None:
        """Ends all episodes and the worker process."""
        await asyncio.to_thread(self._launcher.close)

    async def __aenter__(self) -> AppWorldPool:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
