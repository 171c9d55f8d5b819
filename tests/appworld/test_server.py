"""Episodes on AppWorld's own server, started on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from prost_lightning.agents.evaluation import ENGINE_DIR, EPISODES_FILE
from prost_lightning.appworld.data import load_script
from prost_lightning.appworld.engine import EngineError, EngineLimits
from prost_lightning.appworld.evaluate import Evaluator
from prost_lightning.appworld.server import AppWorldServer
from prost_lightning.cli import main
from prost_lightning.errors import UserError
from prost_lightning.trajectory import read_trajectories

_START_SECONDS = 120
_SERVE = (
    "import sys, uvicorn\nfrom appworld.serve.environment import app\n"
    "uvicorn.run(app, host='127.0.0.1', port=int(sys.argv[1]), log_level='warning')\n"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def output(run: Path) -> Path:
    """Where ``evaluate`` looks for what the server saves."""
    directory = run / ENGINE_DIR
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def url(mini_world: Path, output: Path) -> Iterator[str]:
    (output / "data").symlink_to(mini_world / "data")
    (output / "experiments" / "outputs").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "APPWORLD_ROOT": str(output)}
    server = subprocess.Popen([sys.executable, "-c", _SERVE, str(port)], env=environment, cwd=output)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert server.poll() is None
        assert time.monotonic() < deadline
        try:
            httpx.get(url, trust_env=False)
            break
        except httpx.TransportError:
            time.sleep(0.2)
    yield url
    server.kill()
    server.wait()


@pytest.mark.slow
def test_a_solution_is_played_and_judged(url: str, output: Path, mini_world: Path, task_ids: list[str]) -> None:
    task_id = task_ids[0]
    script = load_script(mini_world, task_id)
    answer = "" if script.answer is None else f"answer={script.answer!r}, "

    async def play() -> None:
        async with AppWorldServer(url, EngineLimits(open_seconds=180)) as server:
            async with server.open(task_id, "served") as session:
                assert session.task.task_id == task_id
                assert "spotify" in session.task.app_descriptions
                for step in script.steps:
                    observation = await session.execute(step.code)
                    assert observation.output.strip().splitlines()[-1:] == [step.result]
                    assert not observation.completed
                assert (await session.execute("print('x' * 10_000)")).truncated
                assert (await session.execute("1 / 0")).error
                done = await session.execute(f"apis.supervisor.complete_task({answer}status='success')")
                assert (done.completed, done.gave_up) == (True, False)
            assert session.closed
            async with server.open(task_id, "served-gave-up") as session:
                assert (await session.execute("apis.supervisor.complete_task(status='fail')")).gave_up

    asyncio.run(play())
    with Evaluator(mini_world, output) as evaluator:
        assert evaluator.evaluate("served", task_id).success
        assert not evaluator.evaluate("served-gave-up", task_id).success


@pytest.mark.slow
def test_evaluate_plays_on_a_server(url: str, run: Path, mini_world: Path) -> None:
    server = ("--server", url, "--world", str(mini_world), "--output_dir", str(run))
    assert main(["evaluate", *server, "--policy", "oracle", "--n_tasks", "2", "--split", "dev"]) == 0
    episodes = read_trajectories(run / EPISODES_FILE)
    assert [episode.outcome.success for episode in episodes] == [True, True]


@pytest.mark.slow
def test_what_the_server_cannot_do_costs_one_episode(url: str, task_ids: list[str]) -> None:
    async def play() -> None:
        async with AppWorldServer(url, EngineLimits(open_seconds=180)) as server:
            with pytest.raises(EngineError, match="could not initialize nothing_1"):
                await server.start("nothing_1", "unknown")
            async with server.open(task_ids[0], "afterwards") as session:
                assert (await session.execute("print(1)")).output.strip() == "1"

    asyncio.run(play())


def test_only_this_machine_is_talked_to(task_ids: list[str]) -> None:
    with pytest.raises(UserError, match="on this machine"):
        AppWorldServer("http://example.org:8000")

    async def play() -> None:
        async with AppWorldServer("http://127.0.0.1:9") as server:
            with pytest.raises(EngineError, match="no server at") as failure:
                await server.start(task_ids[0], "nobody")
            assert failure.value.lost

    asyncio.run(play())
