"""The training process's side of the worker: starts it, hands it jobs, kills what overruns."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prost_lightning.appworld.channel import Channel, ChannelClosedError, send_with_descriptor
from prost_lightning.appworld.data import ensure_unpacked
from prost_lightning.appworld.fork_server import fork_server
from prost_lightning.appworld.protections import PROTECTIONS, Sandbox
from prost_lightning.appworld.worker_home import WorkerHome
from prost_lightning.errors import UserError

_logger = logging.getLogger(__name__)

_START_SECONDS = 180.0
#: Starts in a row that may end with a process that was killed.
_MAX_STARTS = 5
_FINISH_SECONDS = 5.0
_LOG_LINE_CHARS = 300


class WorkerStartError(UserError):
    """The worker process died and did not come up again, or was closed. What it costs is up to the caller."""


@dataclass(frozen=True)
class Job:
    """A running child of the worker process, and this process's end of the socket to it."""

    number: int
    connection: socket.socket


class Launcher:
    """Owns one worker process (see :mod:`prost_lightning.appworld.worker`), which is started again if it dies.

    Args:
        root: World root, the directory that has ``data/``.
        output_dir: Where episodes are saved, in ``experiments/outputs/<experiment>/tasks/<task_id>/``, and the worker's
            log ``<name>.log``.
        name: What the worker is called in its log's name.
        with_ground_truth: Whether jobs may see the tasks' solutions and tests. Without, they get a copy of the world
            that lacks them, and the world itself is hidden where the system allows it.
        sandbox: Whether to use what protections the system offers (``auto``), to refuse to run without all of them
            (``strict``), or to do without (``off``).
        without: Protections of :data:`prost_lightning.appworld.protections.PROTECTIONS` to do without.

    Raises:
        UserError: There is no world at ``root``.
    """

    def __init__(
        self,
        root: Path,
        output_dir: Path,
        *,
        name: str,
        with_ground_truth: bool,
        sandbox: Sandbox = "auto",
        without: Collection[str] = (),
    ) -> None:
        self._root = Path(root).resolve()
        self._output_dir = Path(output_dir).resolve()
        self._name = name
        self._log_path = self._output_dir / f"{name}.log"
        self._with_ground_truth = with_ground_truth
        self._sandbox = sandbox
        self._unwanted = sorted(PROTECTIONS if sandbox == "off" else without)
        self._task_ids = _task_ids(self._root)
        ensure_unpacked()
        (self._output_dir / "experiments" / "outputs").mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._told = False
        self._closed = False
        self._came_up = False
        self._start_failure: UserError | None = None
        self._start()

    @property
    def process_id(self) -> int:
        """Number of the present worker process; waits until there is one."""
        with self._lock:
            while self._process_id is None:
                self._hear()
            return self._process_id

    @property
    def missing_protections(self) -> dict[str, str]:
        """Why not, for each protection that jobs run without; waits until the worker process is up."""
        with self._lock:
            self._wait_until_ready()
            return self._missing

    def episode_directory(self, experiment: str, task_id: str) -> Path:
        """Where AppWorld saves an episode."""
        return self._output_dir / "experiments" / "outputs" / experiment / "tasks" / task_id

    def check_task(self, task_id: str) -> None:
        """Raises UserError if the world has no such task."""
        if task_id not in self._task_ids:
            raise UserError(f"{self._root}: this world has no task {task_id!r}; its splits are in data/datasets/.")

    def submit(self, job: dict[str, Any]) -> Job:
        """Starts a job in a child of its own.

        Args:
            job: What :mod:`prost_lightning.appworld.worker` expects.

        Returns:
            The running job. Whoever asked owns its socket, and must call :meth:`end` on it.

        Raises:
            UserError: The worker process has never come up.
            WorkerStartError: The worker process died and does not come up again, or was closed.
        """
        ours, theirs = socket.socketpair()
        try:
            with self._lock:
                if self._closed:
                    raise WorkerStartError("the worker was closed")
                number = next(self._numbers)
                self._wait_until_ready()
                try:
                    send_with_descriptor(self._control, self._start_message(number, job), theirs)
                except OSError:
                    self._restart()
                    self._wait_until_ready()
                    send_with_descriptor(self._control, self._start_message(number, job), theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Job(number, ours)

    def end(self, job: Job) -> None:
        """Kills all of a job's processes that are left."""
        with self._lock, contextlib.suppress(OSError):  # If the worker is gone, so are its children.
            if not self._closed:
                self._channel.send({"end": job.number})

    def close(self) -> None:
        """Kills all jobs, ends the worker process and removes its scratch directory."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._stop()

    def _start_message(self, number: int, job: dict[str, Any]) -> dict[str, Any]:
        """What the present worker process is told: a new one has another scratch directory."""
        return {
            "start": number,
            "hidden": [str(path) for path in self._home.hidden],
            "kept": [str(path) for path in self._home.kept],
            **job,
        }

    def _start(self) -> None:
        """Starts the worker process, without waiting until it is ready."""
        self._home = WorkerHome(self._root, self._output_dir, with_ground_truth=self._with_ground_truth)
        settings = {
            "scratch": str(self._home.scratch),
            "environment": self._home.environment(),
            "log": str(self._log_path),
            "unwanted": self._unwanted,
        }
        if self._with_ground_truth:
            settings["judged"] = str(self._root)
        else:
            settings["trial"] = self._start_message(0, self._trial())
        self._log_path.touch()
        self._log_start = self._log_path.stat().st_size
        self._process_id: int | None = None
        self._ready = False
        self._control, theirs = socket.socketpair()
        self._channel = Channel(self._control)
        with theirs:
            fork_server().fork(settings, theirs)

    def _trial(self) -> dict[str, Any]:
        """A small episode, by which the worker finds out whether it can play any."""
        task_id, experiment = min(self._task_ids), f".trial-{self._home.scratch.name}"
        limits = {"memory_gib": 2.0, "episode_seconds": 120.0, "file_size_mib": 64, "execute_seconds": 60.0}
        return {
            "kind": "episode",
            "task_id": task_id,
            "experiment": experiment,
            "output": str(self.episode_directory(experiment, task_id)),
            "limits": {**limits, "output_chars": 1500},
        }

    def _wait_until_ready(self) -> None:
        """Waits until the worker takes jobs; starts it again if it died since the last job.

        A worker that was killed while it started is bad luck (memory, an operator), which another start mends, and so
        is one that died after it once came up. One that ended by itself and never came up is a world or an installation
        that is broken: then all calls raise what the first one found.
        """
        if self._start_failure is not None:
            raise self._start_failure
        if self._came_up and self._ready and self._is_gone():
            self._restart()
        starts = 1
        while not self._ready:
            try:
                self._hear()
            except ChannelClosedError as error:
                broken = fork_server().failure()
                if broken or starts == _MAX_STARTS:
                    raise self._failed_start(broken or str(error)) from error
                starts += 1
                self._restart()
            except (TimeoutError, ValueError) as error:
                raise self._failed_start(str(error)) from error

    def _hear(self) -> None:
        """Takes in the next of what a worker says before it takes jobs.

        Raises:
            ChannelClosedError: It was killed.
            TimeoutError: It says nothing.
            ValueError: What it says is nonsense.
            UserError: It failed, or protects less than was asked for.
        """
        told = self._channel.receive(_START_SECONDS)
        if "process" in told:
            self._process_id = told["process"]
        elif "missing" in told:
            self._came_up = self._ready = True
            self._missing: dict[str, str] = told["missing"]
            self._tell_protections()
        else:
            raise self._failed_start(told["failed"])

    def _is_gone(self) -> bool:
        """Whether a worker that was ready has ended; it has nothing more to say."""
        self._control.setblocking(False)
        try:
            return not self._control.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _failed_start(self, error: str) -> UserError:
        """Ends a worker process that did not come up, and says so."""
        self._stop()
        message = (
            f"{self._root}: AppWorld's engine did not start on this world ({error}; the last line of its log "
            f"{self._log_path}: {self._last_log_line()}); build the world or install appworld anew."
        )
        if self._came_up:
            return WorkerStartError(message)
        self._start_failure = UserError(message)
        return self._start_failure

    def _tell_protections(self) -> None:
        """Says once which protections hold; refuses those that are not enough.

        Raises:
            UserError: One is missing although all are asked for.
        """
        reasons = "; ".join(f"no {name} ({reason}): {PROTECTIONS[name]}" for name, reason in self._missing.items())
        if self._missing and self._sandbox == "strict":
            self._stop()
            self._start_failure = UserError(
                f"sandbox strict: this system does not protect enough from code that a model writes: {reasons}; "
                "use a system that does, or `auto`."
            )
            raise self._start_failure
        if self._told:
            return
        self._told = True
        holding = ", ".join(name for name in PROTECTIONS if name not in self._missing) or "none"
        _logger.info("%s: protections of the system in use: %s.", self._name, holding)
        if self._missing and self._sandbox != "off":
            _logger.warning("Code that a model writes runs with less protection: %s.", reasons)

    def _last_log_line(self) -> str:
        """The last line that the present worker process has left in the log."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").split("\n")
        return next((line.strip()[:_LOG_LINE_CHARS] for line in reversed(lines) if line.strip()), "nothing")

    def _restart(self) -> None:
        """Starts the worker process again, without waiting until it is ready."""
        _logger.warning("AppWorld's worker process is gone; starting it again (its log: %s).", self._log_path)
        self._stop()
        self._start()

    def _stop(self) -> None:
        """Ends the worker process, which ends its jobs."""
        if not self._channel.finish(_FINISH_SECONDS) and self._process_id is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process_id, signal.SIGKILL)
        self._channel.close()
        self._home.remove()


def _task_ids(root: Path) -> frozenset[str]:
    """All tasks of a world."""
    specifications = sorted((root / "data" / "tasks").glob("*/specs.json"))
    if not specifications:
        raise UserError(
            f"{root}: no AppWorld data here; make a generated world with "
            f"`python -m prost_lightning world build --root {root}`."
        )
    return frozenset(path.parent.name for path in specifications)
