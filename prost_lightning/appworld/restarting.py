"""An episode that outlives its engine: one that vanished is replaced, and led to where it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prost_lightning.appworld.engine import EngineError, EngineLimits, Engines, Observation, Session, TaskInfo


@dataclass(frozen=True)
class Executed:
    """Code that ran, and what an agent was shown of it."""

    code: str
    output: str
    error: bool


@dataclass(frozen=True)
class Difference:
    """The first execution of a replay that did not give what it gave before.

    Attributes:
        number: Its place in the episode, from 1.
        expected: What it gave before.
        found: What it gives now.
    """

    number: int
    expected: Executed
    found: Executed


async def repeat(session: Session, history: Iterable[Executed]) -> Difference | None:
    """Executes again what was executed before, up to the first result that differs.

    Args:
        session: A fresh episode of the same task.
        history: From the first execution on.

    Returns:
        What differs; None if nothing does.

    Raises:
        EngineError: The process died, hung or ran into a limit.
    """
    for number, expected in enumerate(history, start=1):
        observation = await session.execute(expected.code)
        found = Executed(expected.code, observation.output, observation.error)
        if found != expected:
            return Difference(number, expected, found)
    return None


class RestartingSession:
    """One episode on as many engines as it takes.

    The engine is deterministic: the same code gives the same results. So where its process vanishes through no fault
    that it could name (:attr:`EngineError.lost`), the episode goes on in a fresh one that has executed the same. Code
    that kills its own engine kills the next ones too, and ends the episode when ``max_restarts`` are used up.

    Args:
        pool: Where engines come from.
        task_id: As ``82e2fac_1``.
        experiment: Name under which the episode is saved.
        limits: What each engine may use; by default what the pool does.
        max_restarts: How many engines may be lost.

    Attributes:
        restarts: How many were.
    """

    def __init__(
        self,
        pool: Engines,
        task_id: str,
        experiment: str,
        limits: EngineLimits | None = None,
        max_restarts: int = 3,
    ) -> None:
        self._pool = pool
        self._task_id = task_id
        self._experiment = experiment
        self._limits = limits
        self._max_restarts = max_restarts
        self._history: list[Executed] = []
        self._session: Session | None = None
        self.restarts = 0

    async def open(self) -> TaskInfo:
        """Starts the episode.

        Returns:
            What the agent is told about the task.

        Raises:
            UserError: As for :meth:`AppWorldPool.start`.
            EngineError: The engine cannot open the task.
        """
        while True:
            try:
                return (await self._resumed()).task
            except EngineError as error:
                self._count(error)

    async def execute(self, code: str) -> Observation:
        """Runs Python in the world; see :meth:`EngineSession.execute`.

        Raises:
            EngineError: The engine failed in a way that another one would not mend, or too often.
        """
        while True:
            try:
                observation = await (await self._resumed()).execute(code)
            except EngineError as error:
                self._count(error)
            else:
                self._history.append(Executed(code, observation.output, observation.error))
                return observation

    async def close(self) -> bool:
        """Ends the episode's process.

        Returns:
            Whether an engine was ever open, so that there is something saved.
        """
        if self._session is not None:
            await self._session.close()
        return self._session is not None

    async def _resumed(self) -> Session:
        """The present engine, or a new one in the same state."""
        if self._session is not None and not self._session.closed:
            return self._session
        session = await self._pool.start(self._task_id, self._experiment, self._limits)
        self._session = session
        difference = await repeat(session, self._history)
        if difference is not None:
            await session.close()
            raise EngineError(
                "env_error", f"the engine was lost, and step {difference.number} gave another result on a new one"
            )
        return session

    def _count(self, error: EngineError) -> None:
        """Allows for another engine, or raises the error that cost the last one."""
        if not error.lost or self.restarts == self._max_restarts:
            raise error
        self.restarts += 1
