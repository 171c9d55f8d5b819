"""The pool on an event loop: many episodes at once, waiting where it is full, in the places that people run it from."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prost_lightning.appworld.blocking import BlockingPool
from prost_lightning.appworld.engine import EngineError, EngineLimits
from prost_lightning.appworld.pool import AppWorldPool
from prost_lightning.appworld.restarting import Difference, Executed, RestartingSession, repeat
from prost_lightning.errors import UserError

_EPISODES = 3


@pytest.fixture(scope="module")
def small(mini_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingPool]:
    """A pool of three episodes; tests run their coroutines on its loop."""
    with BlockingPool(AppWorldPool(mini_world, tmp_path_factory.mktemp("async"), episodes=_EPISODES)) as pool:
        yield pool


def test_many_episodes_share_one_loop_and_a_full_pool_waits(small: BlockingPool, task_ids: list[str]) -> None:
    running: set[int] = set()
    most = 0
    full = asyncio.Event()

    async def play(number: int) -> str:
        nonlocal most
        async with small.pool.open(task_ids[number % 3], f"many-{number}") as session:
            running.add(number)
            most = max(most, len(running))
            if most == _EPISODES:
                full.set()
            await full.wait()  # an episode must not be over before the next one is open
            await session.execute(f"mine = {number}")
            output = (await session.execute("print(mine)")).output.strip()
            running.discard(number)
        assert session.closed
        return output

    async def play_all() -> list[str]:
        return await asyncio.gather(*(play(number) for number in range(8)))

    threads = threading.active_count()
    assert small.call(play_all) == [str(number) for number in range(8)]
    assert most == _EPISODES
    assert threading.active_count() - threads <= _EPISODES + 2


def test_a_cancelled_execution_leaves_no_process(
    small: BlockingPool, task_ids: list[str], descendants: Callable[[int], set[int]]
) -> None:
    async def play() -> None:
        async with asyncio.timeout(2), small.pool.open(task_ids[0], "cancelled") as session:
            await session.execute("while True: pass")

    before = descendants(small.process_id)
    with pytest.raises(TimeoutError):
        small.call(play)
    deadline = time.monotonic() + 10
    while not descendants(small.process_id) <= before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert descendants(small.process_id) <= before


def test_a_pool_works_in_a_cell_of_a_notebook(
    small: BlockingPool, mini_world: Path, tmp_path: Path, task_ids: list[str]
) -> None:
    async def notebook() -> tuple[str, str]:
        # A loop is running here, as in a notebook's cell: both forms must work.
        async with (
            AppWorldPool(mini_world, tmp_path, episodes=1) as pool,
            pool.open(task_ids[0], "awaited") as session,
        ):
            awaited = (await session.execute("print(1)")).output.strip()
        with small.open(task_ids[0], "plain") as plain:
            return awaited, plain.execute("print(2)").output.strip()

    assert asyncio.run(notebook()) == ("1", "2")


@pytest.mark.slow
def test_several_processes_share_a_world_and_an_output_directory(
    mini_world: Path, tmp_path: Path, task_ids: list[str]
) -> None:
    """As the ranks of a distributed training and the workers of pytest-xdist do."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom prost_lightning.appworld.blocking import BlockingPool\n"
        "from prost_lightning.appworld.pool import AppWorldPool\nrank, root, output, task_id = sys.argv[1:]\n"
        "with BlockingPool(AppWorldPool(Path(root), Path(output))) as pool:\n"
        "    for number in range(3):\n"
        "        with pool.open(task_id, f'rank{rank}-{number}') as session:\n"
        "            session.execute(f'mine = {rank}')\n"
        "            print(session.execute('print(mine)').output.strip(), flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), str(mini_world), str(tmp_path), task_ids[0]],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [rank.communicate()[0].split() for rank in ranks] == [["0"] * 3, ["1"] * 3]
    saved = tmp_path / "experiments" / "outputs"
    assert sorted(path.name for path in saved.iterdir()) == sorted(f"rank{r}-{n}" for r in range(2) for n in range(3))


class TestRestarting:
    def _session(self, small: BlockingPool, task_id: str, name: str, max_restarts: int = 2) -> RestartingSession:
        return RestartingSession(small.pool, task_id, name, max_restarts=max_restarts)

    def test_an_episode_outlives_its_engine(
        self,
        small: BlockingPool,
        task_ids: list[str],
        descendants: Callable[[int], set[int]],
        gone_within: Callable[[float, set[int]], bool],
    ) -> None:
        session = self._session(small, task_ids[0], "outlives")
        small.call(session.open)
        small.call(session.execute, "x = 20")
        for process in descendants(small.process_id):
            os.kill(process, signal.SIGKILL)
        assert small.call(session.execute, "print(x + 1)").output.strip() == "21"
        assert session.restarts == 1
        children = descendants(small.process_id)
        os.kill(small.process_id, signal.SIGKILL)
        assert gone_within(10, children)
        assert small.call(session.execute, "print(x + 2)").output.strip() == "22"
        assert session.restarts == 2
        assert small.call(session.close)

    def test_code_that_kills_its_engine_ends_its_episode(self, small: BlockingPool, task_ids: list[str]) -> None:
        session = self._session(small, task_ids[0], "suicide", max_restarts=1)
        small.call(session.open)
        with pytest.raises(EngineError) as failure:
            small.call(session.execute, "__import__('ctypes').string_at(0)")
        assert (failure.value.end_reason, session.restarts) == ("env_error", 1)

    def test_an_overrun_is_not_tried_again(self, small: BlockingPool, task_ids: list[str]) -> None:
        limits = EngineLimits(execute_seconds=1, grace_seconds=1)
        session = RestartingSession(small.pool, task_ids[0], "overrun", limits)
        small.call(session.open)
        with pytest.raises(EngineError) as failure:
            small.call(
                session.execute,
                "while True:\n  try:\n    for n in range(10**12): len('')\n  except BaseException: pass",
            )
        assert (failure.value.end_reason, session.restarts) == ("limit:execute_seconds", 0)

    def test_a_replay_says_what_differs(self, small: BlockingPool, task_ids: list[str]) -> None:
        history = [Executed("print(1)", "1\n", False), Executed("print(2)", "3\n", False)]

        async def play() -> Difference | None:
            async with small.pool.open(task_ids[0], "differs") as session:
                return await repeat(session, history)

        difference = small.call(play)
        assert difference is not None
        assert (difference.number, difference.found.output) == (2, "2\n")


def test_a_pool_of_no_episodes_is_refused(mini_world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 episodes"):
        AppWorldPool(mini_world, tmp_path, episodes=0)
