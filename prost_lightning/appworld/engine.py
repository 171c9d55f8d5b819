"""What is said about an episode on the AppWorld engine: what it may use, its task, its observations, how it fails."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

from prost_lightning.errors import UserError


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
    """

    open_seconds: float = 60.0
    execute_seconds: float = 30.0
    grace_seconds: float = 5.0
    episode_seconds: float = 600.0
    memory_gib: float = 2.0
    output_chars: int = 1500
    file_size_mib: int = 64

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) <= 0:
                raise UserError(f"engine limit {field.name}: must be above 0, not {getattr(self, field.name)}.")


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


class Session(Protocol):
    """One open episode, whatever engine plays it; see :class:`prost_lightning.appworld.pool.EngineSession`."""

    @property
    def task(self) -> TaskInfo:
        """What the agent is told about the task."""

    @property
    def experiment(self) -> str:
        """Name under which the episode is saved."""

    @property
    def closed(self) -> bool:
        """Whether the episode is over."""

    async def execute(self, code: str) -> Observation:
        """Runs Python in the world; an EngineError ends the episode."""

    async def close(self) -> None:
        """Ends the episode."""


class Engines(Protocol):
    """Opens episodes: workers of our own (``AppWorldPool``), or AppWorld's server (``AppWorldServer``)."""

    @property
    def episodes(self) -> int:
        """Most episodes at once."""

    async def start(self, task_id: str, experiment: str, limits: EngineLimits | None = None) -> Session:
        """Starts an episode, once there is room for one more; the caller closes it."""

    async def close(self) -> None:
        """Ends all that is left."""


class EngineError(RuntimeError):
    """An episode's engine failed or was stopped; the episode is over, the pool is not.

    Attributes:
        end_reason: ``env_error``, ``limit:execute_seconds``, ``limit:episode_seconds`` or ``limit:memory``.
        lost: Whether the engine's process vanished without a word or could not be had. That need not be the episode's
            doing (somebody killed it, memory ran out), so the same steps may well succeed on a new one.
    """

    def __init__(self, end_reason: str, detail: str, *, lost: bool = False) -> None:
        super().__init__(detail)
        self.end_reason = end_reason
        self.lost = lost
