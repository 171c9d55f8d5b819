"""The engine pool for code without an event loop (and for notebook cells, whose loop must not be blocked).

Example:
    with BlockingPool(AppWorldPool(root, output_dir)) as pool, pool.open("82e2fac_1", "my-experiment") as session:
        print(session.execute("print(apis.supervisor.show_profile())").output)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Generic, TypeVarTuple

from anyio.from_thread import start_blocking_portal
from typing_extensions import TypeVar

from prost_lightning.appworld.engine import EngineLimits, Engines, Observation, Session, TaskInfo
from prost_lightning.appworld.pool import AppWorldPool

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")
_Pool = TypeVar("_Pool", bound=Engines, default=AppWorldPool)


class BlockingPool(Generic[_Pool]):
    """Runs a pool's event loop in a thread of its own, and waits for it. Thread-safe.

    Args:
        pool: The pool (or whatever else opens episodes), which belongs to this object from now on.

    Attributes:
        pool: The same.
    """

    def __init__(self, pool: _Pool) -> None:
        self.pool = pool
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal(name="appworld-pool"))
        self._stack.callback(self.call, pool.close)

    @property
    def process_id(self: BlockingPool[AppWorldPool]) -> int:
        """As :attr:`AppWorldPool.process_id`."""
        return self.pool.process_id

    @property
    def missing_protections(self: BlockingPool[AppWorldPool]) -> dict[str, str]:
        """As :attr:`AppWorldPool.missing_protections`."""
        return self.pool.missing_protections

    def call(self, function: Callable[[*_Arguments], Awaitable[_Result]], *arguments: *_Arguments) -> _Result:
        """Runs a coroutine function on the pool's event loop and waits for its result.

        Ctrl-C while waiting cancels it.
        """
        future = self._portal.start_task_soon(function, *arguments)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def open(self, task_id: str, experiment: str, limits: EngineLimits | None = None) -> BlockingSession:
        """Starts an episode; see :meth:`AppWorldPool.start`. A full pool makes this thread wait for the others."""
        return BlockingSession(self, self.call(self.pool.start, task_id, experiment, limits))

    def close(self) -> None:
        """Ends all episodes, the worker process and the thread. More calls do nothing."""
        self._stack.close()

    def __enter__(self) -> BlockingPool[_Pool]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BlockingSession:
    """An episode of a :class:`BlockingPool`; for one thread at a time."""

    def __init__(self, pool: BlockingPool[Any], session: Session) -> None:
        self._pool = pool
        self._session = session

    @property
    def task(self) -> TaskInfo:
        """What the agent is told about the task."""
        return self._session.task

    @property
    def experiment(self) -> str:
        """Name under which the episode is saved."""
        return self._session.experiment

    def execute(self, code: str) -> Observation:
        """Runs Python in the world; see :meth:`prost_lightning.appworld.pool.EngineSession.execute`."""
        return self._pool.call(self._session.execute, code)

    def close(self) -> None:
        """Ends the episode's process. What was done so far is already saved."""
        self._pool.call(self._session.close)

    def __enter__(self) -> BlockingSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
