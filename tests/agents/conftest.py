"""Ways to play episodes: without engine and model, from a list of replies; and on the real engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from prost_lightning.agents import collect, evaluation
from prost_lightning.agents.arena import Arena
from prost_lightning.agents.episode import Episode, ExecuteRequest, Reply, Request
from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.agents.policy import Completion
from prost_lightning.appworld.engine import EngineLimits, Observation, TaskInfo

Start = Callable[[EpisodeLimits], Episode]
Play = Callable[[Generator[Request, Reply, None], Iterable[str | Completion]], list[Request]]


@pytest.fixture
def start() -> Start:
    """Makes the record of a new episode."""
    task = TaskInfo(
        task_id="abc1234_1",
        instruction="How many songs do I have?",
        first_name="Ada",
        last_name="Lovelace",
        email="ada@example.com",
        phone_number="5550001",
        datetime="2023-05-18T12:00:00",
        app_descriptions={"supervisor": "About you.", "spotify": "Music."},
    )
    return lambda limits: Episode(task, limits)


@pytest.fixture
def play() -> Play:
    """Answers turns from a list of replies, in order, and executions with what a tiny engine would print.

    Code prints itself in capitals; code that holds ``fail`` fails; ``complete_task`` completes, and gives up where its
    status says so.
    """

    def run(code: str) -> Observation:
        completed = "complete_task" in code
        return Observation(code.upper(), "fail" in code, False, completed, 0.0, completed and 'status="fail"' in code)

    def answer(turns: Generator[Request, Reply, None], replies: Iterable[str | Completion]) -> list[Request]:
        queue = iter(replies)
        seen: list[Request] = []
        try:
            request = next(turns)
            while True:
                seen.append(request)
                if isinstance(request, ExecuteRequest):
                    request = turns.send(run(request.code))
                else:
                    reply = next(queue)
                    request = turns.send(Completion(reply, 10, 2, 0.5, 100.0) if isinstance(reply, str) else reply)
        except StopIteration:
            assert not list(queue), "the episode ended before all replies were used"
        return seen

    return answer


@pytest.fixture(scope="session")
def arena(mini_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The real engine, started once for all tests of agents; patient with a busy machine, but not for ever."""
    limits = EngineLimits(execute_seconds=8, grace_seconds=2)
    with Arena(mini_world, tmp_path_factory.mktemp("arena"), limits) as opened:
        yield opened


@pytest.fixture
def started(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets code that would start the engine use the one that is running, which saves some ten seconds a time."""
    for module in (collect, evaluation):
        monkeypatch.setattr(module, "Arena", lambda *settings: nullcontext(arena))
