"""Everything that episodes in one world need: engine workers, the trusted evaluator, names for the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from prost_lightning.agents.limits import DEFAULT_LIMITS, EpisodeLimits
from prost_lightning.agents.policy import Policy
from prost_lightning.agents.runner import run_episodes
from prost_lightning.agents.tasks import templates
from prost_lightning.appworld.blocking import BlockingPool
from prost_lightning.appworld.data import world_name
from prost_lightning.appworld.engine import EngineLimits, Engines
from prost_lightning.appworld.evaluate import Evaluator
from prost_lightning.appworld.pool import AppWorldPool
from prost_lightning.appworld.protections import Sandbox
from prost_lightning.appworld.server import AppWorldServer
from prost_lightning.trajectory import Agents, Trajectory


class Arena:
    """A world that is ready for episodes. Starting one takes some seconds, so keep it for several runs, and close it.

    Args:
        root: World root.
        output_dir: Where the engine writes the databases that episodes leave behind, and the evaluator reads them.
        engine_limits: What one worker may use up; raised where an episode's own limits ask for more.
        concurrency: Most episodes at once.
        sandbox: As for :class:`~prost_lightning.appworld.pool.AppWorldPool`.
        server: URL of a running AppWorld server that plays the episodes instead of workers of our own, one at a time.
            It must save them below ``output_dir``.
    """

    def __init__(
        self,
        root: Path,
        output_dir: Path,
        engine_limits: EngineLimits | None = None,
        concurrency: int = 8,
        sandbox: Sandbox = "auto",
        server: str | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.world = world_name(root)
        self._templates = templates(root)
        self._engine_limits = engine_limits or EngineLimits()
        with ExitStack() as stack:
            engines: Engines
            if server is None:
                engines = AppWorldPool(root, output_dir, self._engine_limits, episodes=concurrency, sandbox=sandbox)
            else:
                engines = AppWorldServer(server, self._engine_limits)
            self._pool = stack.enter_context(BlockingPool(engines))
            self._evaluator = stack.enter_context(Evaluator(root, output_dir))
            self._stack = stack.pop_all()

    def play(
        self,
        task_ids: Sequence[str],
        *,
        split: str,
        policy: Policy,
        experiment: str,
        agents: Agents = "team",
        critic: bool = True,
        limits: EpisodeLimits = DEFAULT_LIMITS,
        seed: int = 0,
        concurrency: int | None = None,
        on_end: Callable[[Trajectory], None] | None = None,
        progress: bool = True,
    ) -> list[Trajectory]:
        """Plays one episode a task; see :func:`~prost_lightning.agents.runner.run_episodes` for the arguments.

        ``concurrency`` is the arena's unless fewer episodes at once are asked for.
        """
        return run_episodes(
            task_ids,
            split=split,
            world=self.world,
            agents=agents,
            policy=policy,
            pool=self._pool,
            evaluator=self._evaluator,
            limits=limits,
            engine_limits=engine_limits_for(limits, self._engine_limits),
            experiment=experiment,
            seed=seed,
            concurrency=self.concurrency if concurrency is None else concurrency,
            critic=critic,
            templates=self._templates,
            on_end=on_end,
            progress=progress,
        )

    def close(self) -> None:
        """Stops the workers and the evaluator. More calls do nothing."""
        self._stack.close()

    def __enter__(self) -> Arena:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def engine_limits_for(limits: EpisodeLimits, engine_limits: EngineLimits) -> EngineLimits:
    """Raises an engine's limits to what an episode may use up, so that the episode's own limits are the ones that bind.

    Args:
        limits: The episode's.
        engine_limits: The engine's, whose clock starts earlier: before the world is open.
    """
    return replace(
        engine_limits,
        episode_seconds=max(engine_limits.episode_seconds, engine_limits.open_seconds + limits.seconds),
        output_chars=max(engine_limits.output_chars, limits.output_chars),
    )
