"""Playing saved episodes again without a model: the same code must give the same observations and the same verdict."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from prost_lightning.agents.arena import engine_limits_for
from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.appworld.blocking import BlockingPool
from prost_lightning.appworld.data import world_name
from prost_lightning.appworld.engine import EngineError, EngineLimits
from prost_lightning.appworld.evaluate import Evaluator, TaskResult
from prost_lightning.appworld.pool import AppWorldPool
from prost_lightning.appworld.restarting import Executed, repeat
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Trajectory


@dataclass(frozen=True)
class Replayed:
    """What came of an episode's code when it ran again.

    Attributes:
        episode: As it was saved.
        difference: What is not as it was, in one sentence; empty if every observation and the verdict are the same to
            the last character.
    """

    episode: Trajectory
    difference: str

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.difference


def replay(
    episodes: Sequence[Trajectory],
    root: Path,
    *,
    concurrency: int = 8,
    on_end: Callable[[], object] | None = None,
) -> list[Replayed]:
    """Runs the code of saved episodes on fresh engines, step by step, and has the results judged.

    Code that ended its episode (a limit, a dead engine) left no observation; the state before it is what is judged.

    Args:
        episodes: Episodes of one world.
        root: Root of that world.
        concurrency: Most episodes at once.
        on_end: Called as each episode ends, for a progress bar; in a thread of the pool.

    Returns:
        The results, in the order of ``episodes``.

    Raises:
        UserError: An episode is of another world, or ``concurrency`` is below 1.
    """
    world = world_name(root)
    for episode in episodes:
        if episode.world != world:
            raise UserError(
                f"{root}: this world is {world}, but the episode of {episode.task_id} ran in {episode.world}."
            )
    with (
        tempfile.TemporaryDirectory(prefix="prost-replay-") as scratch,
        BlockingPool(AppWorldPool(root, Path(scratch), episodes=concurrency)) as pool,
        Evaluator(root, Path(scratch)) as evaluator,
    ):

        async def play_all() -> list[Replayed]:
            plays = (_play(episode, f"replay-{n}", pool.pool, evaluator, on_end) for n, episode in enumerate(episodes))
            return await asyncio.gather(*plays)

        return pool.call(play_all)


async def _play(
    episode: Trajectory,
    experiment: str,
    pool: AppWorldPool,
    evaluator: Evaluator,
    on_end: Callable[[], object] | None,
) -> Replayed:
    limits = msgspec.convert(episode.metadata.get("limits", {}), EpisodeLimits)
    shown = int(episode.metadata.get("output_chars", EngineLimits().output_chars))
    engine_limits = engine_limits_for(limits, EngineLimits(output_chars=shown))
    steps = [Executed(step.code, step.output, step.error) for step in episode.steps]
    difference = ""
    try:
        async with pool.open(episode.task_id, experiment, engine_limits) as session:
            found = await repeat(session, steps)
        if found is not None:
            difference = f"execution {found.number} gave {found.found.output!r}, not {found.expected.output!r}"
    except EngineError as error:
        difference = f"the engine failed: {error}"
    # An episode whose task could not be opened, so that it has no instruction, left nothing to judge.
    if not difference and episode.instruction:
        difference = _verdict_difference(
            episode, await asyncio.to_thread(evaluator.evaluate, experiment, episode.task_id)
        )
    if on_end is not None:
        on_end()
    return Replayed(episode, difference)


def _verdict_difference(episode: Trajectory, verdict: TaskResult) -> str:
    outcome = episode.outcome
    before: Iterable[tuple[str, object]] = (
        ("success", outcome.success),
        ("passes", outcome.passes),
        ("failures", tuple(outcome.failures)),
        ("sub_tasks", tuple(outcome.sub_tasks)),
    )
    for name, expected in before:
        if getattr(verdict, name) != expected:
            return f"the verdict's {name} are {getattr(verdict, name)!r}, not {expected!r}"
    return ""
