"""One engine and one evaluator for all tests of this folder, and ways to look at processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prost_lightning.appworld.blocking import BlockingPool, BlockingSession
from prost_lightning.appworld.data import load_script, load_task_ids
from prost_lightning.appworld.evaluate import Evaluator
from prost_lightning.appworld.pool import AppWorldPool


@pytest.fixture(scope="session")
def output_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="session")
def pool(mini_world: Path, output_dir: Path) -> Iterator[BlockingPool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", "only-for-the-training-process")
        with BlockingPool(AppWorldPool(mini_world, output_dir)) as pool:
            yield pool


@pytest.fixture(scope="session")
def evaluator(mini_world: Path, output_dir: Path) -> Iterator[Evaluator]:
    with Evaluator(mini_world, output_dir) as evaluator:
        yield evaluator


@pytest.fixture(scope="session")
def task_ids(mini_world: Path) -> list[str]:
    return load_task_ids(mini_world, "dev")


@pytest.fixture(scope="session")
def solve(mini_world: Path) -> Callable[[BlockingSession], None]:
    """Plays a task's own solution in an open episode."""

    def play(session: BlockingSession) -> None:
        script = load_script(mini_world, session.task.task_id)
        for step in script.steps:
            observation = session.execute(step.code)
            assert observation.output.strip().splitlines()[-1:] == [step.result]
        answer = "" if script.answer is None else f"answer={script.answer!r}, "
        assert session.execute(f"apis.supervisor.complete_task({answer}status='success')").completed

    return play


@pytest.fixture(scope="session")
def descendants() -> Callable[[int], set[int]]:
    """All processes below one, dead but unburied ones included, by a look at ``/proc``."""

    def find(process: int) -> set[int]:
        children: dict[int, set[int]] = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    status = Path(entry.path, "stat").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                parent = int(status.rpartition(")")[2].split()[1])
                children.setdefault(parent, set()).add(int(entry.name))
        found: set[int] = set()
        front = {process}
        while front:
            front = set().union(*(children.get(number, set()) for number in front)) - found
            found |= front
        return found

    return find


@pytest.fixture(scope="session")
def gone_within() -> Callable[[float, set[int]], bool]:
    """Waits until none of some processes is left; a number whose process was buried does not count."""

    def wait(seconds: float, processes: set[int]) -> bool:
        deadline = time.monotonic() + seconds
        while any(Path(f"/proc/{number}").exists() for number in processes):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    return wait
