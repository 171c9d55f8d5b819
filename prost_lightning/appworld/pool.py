"""Episodes on the real AppWorld engine, each in a fresh process that can be killed.

Example:
    with AppWorldPool(root, output_dir) as pool, pool.open("82e2fac_1", "my-experiment") as session:
        print(session.execute("print(apis.supervisor.show_profile())").output)
"""

from __future__ import annotations

import dataclasses
import re
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from prost_lightning.appworld.channel import ChannelClosedError
from prost_lightning.appworld.jobs import truncate
from prost_lightning.appworld.launcher import Job, Launcher, WorkerStartError
from prost_lightning.errors import UserError

#: Why an episode's process may say that it ended: a model's code can write into its channel, so nothing else is taken.
_FAILURES = ("env_error", "limit:memory")
_DETAIL_CHARS = 500
_EXPERIMENT_NAME = re.compile(r"[\w.=+@-]*\w[\w.=+@-]*(/[\w.=+@-]*\w[\w.=+@-]*)*", re.ASCII)


@dataclass(frozen=True)
class EngineLimits:
    """What one episode may use. The defaults are ours, not AppWorld's.

    Attributes:
        open_seconds: Wall seconds until the episode's world is open.
        execute_seconds: Wall seconds of one execution. AppWorld first interrupts it (after whole seconds, at least
            one), which the agent sees as an error; code that survives that costs the episode ``grace_seconds`` later.
        grace_seconds: Wall seconds between that interruption and the kill.
        episode_seconds: Wall seconds from opening to the last execution; processor seconds as well.
        memory_gib: Address space of a process in GiB, some 0.4 of which AppWorld itself takes; beyond it an allocation
            is a MemoryError for the agent.
        output_chars: Longest output of one execution, in characters; the middle of a longer one is cut out.
        file_size_mib: Largest file that can be written, in MiB (an episode's database changes and logs).
        processes: Processes and threads at once. Only counts inside Linux namespaces, and not for root.
    """

    open_seconds: float = 60.0
    execute_seconds: float = 30.0
    grace_seconds: float = 5.0
    episode_seconds: float = 600.0
    memory_gib: float = 2.0
    output_chars: int = 1500
    file_size_mib: int = 64
    processes: int = 32

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) <= 0:
                raise UserError(f"engine limit {field.name}: must be above 0, not {getattr(self, field.name)}.")


_DEFAULT_LIMITS = EngineLimits()


@dataclass(frozen=True)
class TaskInfo:
    """What an agent is told about a task.

    Attributes:
        task_id: As ``82e2fac_1``.
        instruction: What the supervisor wants.
        first_name: The supervisor's.
        last_name: The supervisor's.
        email: The supervisor's.
        phone_number: The supervisor's.
        datetime: "Now" in the world, in ISO format.
        app_descriptions: One sentence for each app, in AppWorld's order.
    """

    task_id: str
    instruction: str
    first_name: str
    last_name: str
    email: str
    phone_number: str
    datetime: str
    app_descriptions: dict[str, str]


@dataclass(frozen=True)
class Observation:
    """What one execution gave.

    Attributes:
        output: What was printed, or AppWorld's error message; shortened to ``EngineLimits.output_chars``.
        error: Whether the execution failed.
        truncated: Whether the output was shortened.
        completed: Whether the agent has called ``apis.supervisor.complete_task`` by now.
        seconds: Wall seconds.
        gave_up: Whether it was completed with ``status="fail"``.
    """

    output: str
    error: bool
    truncated: bool
    completed: bool
    seconds: float
    gave_up: bool = False


@dataclass(frozen=True)
class _Executed:
    """What an episode's process says about one execution; see :class:`Observation`."""

    output: str
    error: bool
    truncated: bool
    completed: bool
    gave_up: bool


_Answer = TypeVar("_Answer", TaskInfo, _Executed)


class EngineError(RuntimeError):
    """An episode's engine failed or was stopped; the episode is over, the pool is not.

    Attributes:
        end_reason: ``env_error``, ``limit:execute_seconds``, ``limit:episode_seconds`` or ``limit:memory``.
    """

    def __init__(self, end_reason: str, detail: str) -> None:
        super().__init__(detail)
        self.end_reason = end_reason


class EngineSession:
    """One episode. Made by :meth:`AppWorldPool.open`; for one thread at a time.

    Attributes:
        task: What the agent is told about the task.
        experiment: Name under which the episode is saved.
    """

    def __init__(self, launcher: Launcher, job: Job, limits: EngineLimits, experiment: str) -> None:
        self._launcher = launcher
        self._job = job
        self._limits = limits
        self._deadline = time.monotonic() + limits.episode_seconds
        self._open = True
        self.experiment = experiment
        self.task = self._receive(TaskInfo, limits.open_seconds, "env_error", "opening the world")

    def execute(self, code: str) -> Observation:
        """Runs Python in the world.

        Args:
            code: The code; variables persist between calls.

        Returns:
            What it printed, or AppWorld's message about the error that it raised.

        Raises:
            EngineError: The process died, hung or ran into a limit. The session is closed then.
        """
        if not self._open:
            raise EngineError("env_error", "this episode's engine is closed")
        started = time.monotonic()
        seconds, reason = self._limits.execute_seconds + self._limits.grace_seconds, "limit:execute_seconds"
        if self._deadline - started < seconds:
            seconds, reason = self._deadline - started, "limit:episode_seconds"
        try:
            self._job.channel.send({"code": code})
        except ChannelClosedError as error:
            raise self._fail("env_error", f"the engine's process is gone: {error}") from error
        answer = self._receive(_Executed, seconds, reason, "an execution")
        output = truncate(answer.output, self._limits.output_chars)
        return Observation(
            output=output,
            error=answer.error,
            truncated=answer.truncated or output != answer.output,
            completed=answer.completed,
            seconds=time.monotonic() - started,
            gave_up=answer.gave_up,
        )

    def close(self) -> None:
        """Ends the episode's process. What was done so far is already saved."""
        if self._open:
            self._open = False
            self._launcher.end(self._job)

    def __enter__(self) -> EngineSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, kind: type[_Answer], seconds: float, late_reason: str, what: str) -> _Answer:
        """Waits for the process's answer; every way not to get one of this kind ends the episode."""
        try:
            answer = self._job.channel.receive(max(0.0, seconds))
            if "failed" not in answer:
                return msgspec.convert(answer, kind)
        except TimeoutError as error:
            raise self._fail(late_reason, f"{what} did not end within {seconds:.1f} s") from error
        except ChannelClosedError as error:
            raise self._fail("env_error", f"the engine's process died during {what}") from error
        except ValueError as error:
            raise self._fail("env_error", f"the engine's process answered nonsense: {error}") from error
        except BaseException:  # Ctrl-C: leave nothing running.
            self._fail("env_error", "interrupted")
            raise
        reason = answer["failed"] if answer["failed"] in _FAILURES else "env_error"
        detail = str(answer.get("detail") or "the engine's process gave no reason")
        raise self._fail(reason, detail[:_DETAIL_CHARS])

    def _fail(self, end_reason: str, detail: str) -> EngineError:
        """Kills the process and makes the error to raise."""
        if self._open:
            self._open = False
            self._launcher.end(self._job, kill=True)
        return EngineError(end_reason, detail)


class AppWorldPool:
    """Opens episodes on the AppWorld engine. Thread-safe.

    One preloaded worker process forks a fresh, confined child for each episode: no network, no ground truth, nothing of
    this process's environment. How many run at once is up to the caller.

    Args:
        root: World root, the directory that has ``data/``.
        output_dir: Episodes are saved below it, in ``experiments/outputs/<experiment>/tasks/<task_id>/``, as AppWorld
            does; the worker's log is ``engine.log``.
        limits: What one episode may use, unless it is opened with others.
        isolate: Whether to use Linux namespaces where the system allows it; off is for systems that get them wrong.

    Raises:
        UserError: There is no world at ``root``.
    """

    def __init__(
        self, root: Path, output_dir: Path, limits: EngineLimits = _DEFAULT_LIMITS, *, isolate: bool = True
    ) -> None:
        self._limits = limits
        self._launcher = Launcher(root, output_dir, name="engine", with_ground_truth=False, isolate=isolate)

    @property
    def process_id(self) -> int:
        """Number of the worker process, for people who look at a process list."""
        return self._launcher.process_id

    @property
    def isolated(self) -> bool:
        """Whether episodes run in Linux namespaces; waits until the worker process is up."""
        return self._launcher.isolated

    def open(self, task_id: str, experiment: str, limits: EngineLimits | None = None) -> EngineSession:
        """Starts an episode.

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
        try:
            job = self._launcher.submit(
                {
                    "kind": "episode",
                    "task_id": task_id,
                    "experiment": experiment,
                    "output": str(self._launcher.episode_directory(experiment, task_id)),
                    "limits": dataclasses.asdict(limits),
                }
            )
        except (WorkerStartError, OSError) as error:
            raise EngineError("env_error", str(error)) from error
        return EngineSession(self._launcher, job, limits, experiment)

    def close(self) -> None:
        """Ends all episodes and the worker process."""
        self._launcher.close()

    def __enter__(self) -> AppWorldPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
