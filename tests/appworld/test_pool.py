from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prost_lightning.appworld import launcher
from prost_lightning.appworld.blocking import BlockingPool, BlockingSession
from prost_lightning.appworld.engine import EngineError, EngineLimits
from prost_lightning.appworld.fork_server import ForkServer
from prost_lightning.appworld.pool import AppWorldPool
from prost_lightning.appworld.protections import PROTECTIONS
from prost_lightning.errors import UserError

Descendants = Callable[[int], set[int]]
GoneWithin = Callable[[float, set[int]], bool]

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")


@pytest.fixture
def session(pool: BlockingPool, task_ids: list[str], request: pytest.FixtureRequest) -> Iterator[BlockingSession]:
    with pool.open(task_ids[0], request.node.name) as session:
        yield session


@pytest.fixture(scope="module")
def plain_pool(
    mini_world: Path,
    tmp_path_factory: pytest.TempPathFactory,
    task_ids: list[str],
    descendants: Descendants,
    gone_within: GoneWithin,
) -> Iterator[BlockingPool]:
    """As on a system without namespaces."""
    with BlockingPool(AppWorldPool(mini_world, tmp_path_factory.mktemp("plain"), sandbox="off")) as pool:
        yield pool
        pool.open(task_ids[0], "left-open")
        processes = {pool.process_id} | descendants(pool.process_id)
    assert gone_within(1, processes)


def test_the_agent_is_told_what_the_specification_says(session: BlockingSession, mini_world: Path) -> None:
    specification = json.loads((mini_world / f"data/tasks/{session.task.task_id}/specs.json").read_bytes())
    assert session.task.instruction == specification["instruction"]
    assert session.task.email == specification["supervisor"]["email"]
    assert session.task.datetime == specification["datetime"]
    assert {"spotify", "venmo", "supervisor", "api_docs"} <= session.task.app_descriptions.keys()


def test_variables_persist_and_errors_are_observations(session: BlockingSession) -> None:
    assert session.execute("x = 20").output == "Execution successful."
    observation = session.execute("print(x + 1)")
    assert (observation.output.strip(), observation.error, observation.truncated) == ("21", False, False)
    assert 0 < observation.seconds < 5
    observation = session.execute("apis.spotify.show_song_library()")
    assert observation.error
    assert observation.output.startswith("Execution failed")
    assert session.execute("print(").error
    assert session.execute("print(x)").output.strip() == "20"


def test_completion_is_noticed_and_state_is_saved(session: BlockingSession, output_dir: Path) -> None:
    assert not session.execute("print(1)").completed
    gave_up = session.execute("apis.supervisor.complete_task(status='fail')")
    assert (gave_up.completed, gave_up.gave_up) == (True, True)
    done = session.execute("apis.supervisor.complete_task(status='success')")
    assert (done.completed, done.gave_up) == (True, False)
    session.close()
    saved = output_dir / "experiments/outputs" / session.experiment / "tasks" / session.task.task_id / "dbs"
    assert "UPDATE tasks" in (saved / "supervisor.jsonl").read_text()
    with pytest.raises(EngineError):
        session.execute("print(1)")


def test_long_output_is_shortened(session: BlockingSession, output_dir: Path) -> None:
    observation = session.execute("print('begin' + 'x' * 10_000_000 + 'end')")
    assert observation.truncated
    assert not observation.error
    assert len(observation.output) <= EngineLimits().output_chars
    assert observation.output.startswith("begin")
    assert observation.output.rstrip().endswith("end")
    session.execute("print(1)")
    logs = output_dir / "experiments/outputs" / session.experiment / "tasks" / session.task.task_id / "logs"
    assert sum(path.stat().st_size for path in logs.iterdir()) < 100_000


def test_many_threads_each_have_their_own_world(pool: BlockingPool, task_ids: list[str]) -> None:
    def play(number: int) -> list[str]:
        task_id = task_ids[number % 3]
        with pool.open(task_id, f"threads-{number}") as session:
            assert session.task.task_id == task_id
            session.execute(f"mine = {number}")
            return [session.execute("print(mine)").output.strip() for _ in range(3)]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(play, range(8))) == [[str(number)] * 3 for number in range(8)]


def test_bad_input_is_named(pool: BlockingPool, task_ids: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task 'nothing_1'"):
        pool.open("nothing_1", "bad")
    for name in ("../up", "/root", "a//b", "", ".", "a/../b", "a b"):
        with pytest.raises(UserError, match="experiment name"):
            pool.open(task_ids[0], name)
    with pytest.raises(UserError, match="world build"):
        BlockingPool(AppWorldPool(tmp_path, tmp_path))
    with pytest.raises(UserError, match="memory_gib"):
        EngineLimits(memory_gib=0)


def test_the_environment_has_no_secret(session: BlockingSession) -> None:
    observation = session.execute("import os, pathlib\nprint(' '.join(os.environ))")
    assert "HOME" in observation.output.split()
    assert "WANDB_API_KEY" not in observation.output
    assert "WANDB_API_KEY" not in session.execute("print(pathlib.Path('/proc/1/environ').read_text())").output


def test_the_worlds_ground_truth_is_out_of_reach(
    session: BlockingSession, pool: BlockingPool, mini_world: Path
) -> None:
    task_id = session.task.task_id
    assert session.execute(f"from appworld.task import Task\nprint(Task.load('{task_id}').ground_truth)").error
    if "namespaces" not in pool.missing_protections:
        for place in (f"'{mini_world}/data'", "os.environ['APPWORLD_ROOT']"):
            assert session.execute(f"import os\nprint(os.path.exists({place}))").output.strip() == "False"


def test_an_engine_that_has_never_started_is_an_error_of_the_whole_run(
    mini_world: Path, tmp_path: Path, task_ids: list[str]
) -> None:
    shutil.copytree(mini_world / "data" / "tasks", tmp_path / "data" / "tasks")
    with BlockingPool(AppWorldPool(tmp_path, tmp_path)) as pool:
        with pytest.raises(UserError, match=r"did not start .*engine\.log: \w*(Error|Exception)\b.*; build") as first:
            pool.open(task_ids[0], "one")
        assert "\n" not in str(first.value)
        with pytest.raises(UserError) as second:
            pool.open(task_ids[0], "two")
        assert second.value is first.value


def test_a_worker_that_is_killed_while_it_starts_is_started_again(
    mini_world: Path, tmp_path: Path, task_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with BlockingPool(AppWorldPool(mini_world, tmp_path)) as pool:
        first = pool.process_id
        os.kill(first, signal.SIGKILL)
        with pool.open(task_ids[0], "after-all") as session:
            assert session.execute("print(1)").output.strip() == "1"
        assert pool.process_id != first

    starts = tmp_path / "starts"
    doomed = tmp_path / "python"
    doomed.write_text(f"#!/bin/sh\necho start >> {starts}\nkill -9 $$\n")
    doomed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(doomed))
    fresh = ForkServer()
    monkeypatch.setattr(launcher, "fork_server", lambda: fresh)
    with BlockingPool(AppWorldPool(mini_world, tmp_path)) as pool, pytest.raises(UserError, match="did not start"):
        pool.open(task_ids[0], "never")
    # Five workers were asked for; for each, a preloaded process that died too early to be asked is started once more.
    assert 5 <= len(starts.read_text().split()) <= 10


def test_pools_of_a_process_share_what_is_preloaded(
    pool: BlockingPool, mini_world: Path, tmp_path: Path, descendants: Descendants, gone_within: GoneWithin
) -> None:
    before = descendants(os.getpid())
    with BlockingPool(AppWorldPool(mini_world, tmp_path)) as another:
        assert another.missing_protections == pool.missing_protections
        started = descendants(os.getpid()) - before
        assert started == {another.process_id}
    assert gone_within(1, started)


class TestIsolation:
    @pytest.fixture(autouse=True)
    def _isolated(self, pool: BlockingPool) -> None:
        if "namespaces" in pool.missing_protections:
            pytest.skip("this system allows no namespaces")

    def test_sees_no_other_process_and_no_network(self, session: BlockingSession) -> None:
        processes = session.execute("import os\nprint([n for n in range(1, 5000) if os.path.exists(f'/proc/{n}')])")
        assert processes.output.strip() == "[1]"
        network = session.execute("__import__('socket').create_connection(('127.0.0.1', 22), 1)")
        assert "Operation not permitted" in network.output

    @pytest.mark.slow
    def test_sees_nothing_of_the_world_wherever_it_is(
        self, mini_world: Path, tmp_path: Path, task_ids: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Like a world below /usr when Python itself lives there: packages, and all that is below them, are shown.
        packages = tmp_path / "site-packages"
        monkeypatch.syspath_prepend(packages)
        world = packages / "worlds" / "mini"
        shutil.copytree(mini_world / "data", world / "data")
        (world / "trajectories.jsonl").write_text("solutions")
        listing = "print(*(entry.name for entry in __import__('os').scandir('{}')))"
        with BlockingPool(AppWorldPool(world, world / "runs")) as pool, pool.open(task_ids[0], "hidden") as session:
            assert session.execute(listing.format(packages)).output.split() == ["worlds"]
            assert session.execute(listing.format(world)).output.strip() == "Execution successful."
            profile = session.execute("print(apis.supervisor.show_profile()['email'])")
            assert profile.output.strip() == session.task.email

    def test_sees_nothing_of_the_users_home_and_writes_only_to_its_scratch(
        self, session: BlockingSession, output_dir: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "secret").write_text("secret")
        own = output_dir / "experiments/outputs" / session.experiment / "tasks" / session.task.task_id
        for place in (Path.home() / ".cache", tmp_path, Path(__file__).parent, own):
            assert session.execute(f"import os\nprint(os.path.exists('{place}'))").output.strip() == "False"
        for place in ("/", "/tmp", "/usr/lib", "/dev"):
            assert session.execute(f"os.mkdir('{place}/new')").error
        assert not session.execute("os.mkdir(os.environ['TMPDIR'] + '/new')").error


@linux_only
class TestProcesses:
    def test_an_episode_leaves_no_process(
        self, pool: BlockingPool, task_ids: list[str], descendants: Descendants, gone_within: GoneWithin
    ) -> None:
        before = descendants(pool.process_id)
        session = pool.open(task_ids[0], "leaves-no-process")
        started = descendants(pool.process_id) - before
        assert len(started) == 2
        assert session.execute("__import__('os').posix_spawn('/bin/sleep', ['sleep', '1000'], {})").error
        assert descendants(pool.process_id) - before == started
        session.close()
        assert gone_within(5, started)

    def test_limits_hold_without_namespaces(self, plain_pool: BlockingPool, task_ids: list[str]) -> None:
        assert plain_pool.missing_protections.keys() == PROTECTIONS.keys()
        limits = EngineLimits(execute_seconds=1.0, grace_seconds=1.0)
        with plain_pool.open(task_ids[0], "limits", limits) as session:
            assert session.execute("print(bytearray(8 << 30))").output.strip().endswith("MemoryError")
            with pytest.raises(EngineError) as overrun:
                session.execute(
                    "while True:\n  try:\n    for n in range(10**12): len('')\n  except BaseException: pass"
                )
            assert overrun.value.end_reason == "limit:execute_seconds"

    @pytest.mark.parametrize("which", ["pool", pytest.param("plain_pool", marks=pytest.mark.slow)])
    def test_a_dead_worker_costs_its_episodes_and_the_pool_goes_on(
        self,
        which: str,
        request: pytest.FixtureRequest,
        task_ids: list[str],
        descendants: Descendants,
        gone_within: GoneWithin,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pool: BlockingPool = request.getfixturevalue(which)
        sessions = [pool.open(task_ids[0], f"dies-{number}") for number in range(2)]
        everything = descendants(os.getpid())
        children = descendants(pool.process_id)
        assert len(children) == 4
        os.kill(pool.process_id, signal.SIGKILL)
        assert gone_within(5, children)
        for session in sessions:
            with pytest.raises(EngineError) as death:
                session.execute("print(1)")
            assert death.value.end_reason == "env_error"

        with monkeypatch.context() as patch:
            broken = ForkServer()
            patch.setattr(launcher, "fork_server", lambda: broken)
            patch.setattr(sys, "executable", shutil.which("false"))
            with pytest.raises(EngineError, match="did not start") as refusal:
                pool.open(task_ids[0], "no-worker")
            assert refusal.value.end_reason == "env_error"

        def play(number: int) -> str:
            with pool.open(task_ids[0], f"afterwards-{number}") as session:
                return session.execute("print(1)").output.strip()

        # As the runner does: all replacements start at once.
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(play, range(4))) == ["1"] * 4
        assert pool.process_id not in everything

    def test_nothing_outlives_a_killed_training_process(
        self, mini_world: Path, tmp_path: Path, task_ids: list[str], descendants: Descendants, gone_within: GoneWithin
    ) -> None:
        program = (
            "import sys\nfrom pathlib import Path\nfrom prost_lightning.appworld.blocking import BlockingPool\n"
            "from prost_lightning.appworld.pool import AppWorldPool\n"
            "pool = BlockingPool(AppWorldPool(Path(sys.argv[1]), Path(sys.argv[2])))\n"
            "sessions = [pool.open(sys.argv[3], str(number)) for number in range(2)]\n"
            "print('open', flush=True)\nsessions[0].execute('while True: pass')\n"
        )
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        command = [sys.executable, "-c", program, str(mini_world), str(tmp_path), task_ids[0]]
        search_path = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, "PYTHONPATH": search_path, "TMPDIR": str(scratch)}
        trainer = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        assert trainer.stdout is not None
        with trainer.stdout as said:
            assert said.readline() == "open\n"
            workers = descendants(trainer.pid)
            assert len(workers) == 6
            trainer.kill()
            trainer.wait()
        assert gone_within(10, workers)
        assert list(scratch.iterdir()) == []
