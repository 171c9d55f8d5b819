"""Everything that episodes in one world need: engine workers, the trusted evaluator, names for the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.agents.policy import Policy
from prost_lightning.agents.runner import run_episodes
from prost_lightning.agents.tasks import templates
from prost_lightning.appworld.data import world_name
from prost_lightning.appworld.evaluate import Evaluator
from prost_lightning.appworld.pool import AppWorldPool, EngineLimits
from prost_lightning.trajectory import Agents, Trajectory


class Arena:
    """A world that is ready for episodes. Starting one takes some seconds, so keep it for several runs, and close it.

    Args:
        root: World root.
        output_dir: Where the engine writes the databases that episodes leave behind, and the evaluator reads them.
        engine_limits: What one worker may use up.
    """

    def __init__(self, root: Path, output_dir: Path, engine_limits: EngineLimits | None = None) -> None:
        self.world = world_name(root)
        self._templates = templates(root)
        with ExitStack() as stack:
            self._pool = stack.enter_context(AppWorldPool(root, output_dir, engine_limits or EngineLimits()))
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
        limits: EpisodeLimits | None = None,
        seed: int = 0,
        concurrency: int = 8,
        on_end: Callable[[Trajectory], None] | None = None,
        progress: bool = True,
    ) -> list[Trajectory]:
        """Plays one episode a task; see :func:`~prost_lightning.agents.runner.run_episodes` for the arguments."""
        return run_episodes(
            task_ids,
            split=split,
            world=self.world,
            agents=agents,
            policy=policy,
            pool=self._pool,
            evaluator=self._evaluator,
            limits=limits or EpisodeLimits(),
            experiment=experiment,
            seed=seed,
            concurrency=concurrency,
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
