"""Collecting training data: play episodes, keep those that AppWorld's evaluator passes."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from prost_lightning.agents.arena import Arena
from prost_lightning.agents.limits import COMPLETED, EpisodeLimits
from prost_lightning.agents.policy import Policy
from prost_lightning.agents.records import EpisodeFile
from prost_lightning.agents.tasks import choose_tasks
from prost_lightning.appworld.data import world_name
from prost_lightning.appworld.pool import EngineLimits
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Agents, Trajectory, write_trajectories


@runtime_checkable
class Teacher(Policy, Protocol):
    """A policy that knows the solutions: it can play a task in several ways and say what a single agent's turns do."""

    def with_seed(self, seed: int) -> Policy:
        """The same policy with another seed of its choices."""

    def annotate(self, trajectory: Trajectory) -> Trajectory:
        """Adds what the teacher knows about an episode that it played."""


@dataclass(frozen=True)
class CollectReport:
    """What a collection came to.

    Attributes:
        path: The trajectory file.
        kept: Trajectories that it holds now.
        played: Episodes played by this call.
        skipped: Episodes that an earlier call had collected already.
        rejected: Episodes of this call that were not kept, by reason: how they ended, or ``failed_evaluation`` for
            those that completed their task wrongly.
    """

    path: Path
    kept: int
    played: int
    skipped: int
    rejected: dict[str, int] = field(default_factory=dict)


def collect(
    root: Path,
    split: str,
    output: Path,
    policy: Policy,
    *,
    agents: Agents = "team",
    n_tasks: int | None = None,
    seed: int = 0,
    repeats: int = 1,
    critic: bool = True,
    limits: EpisodeLimits | None = None,
    engine_limits: EngineLimits | None = None,
    concurrency: int = 8,
    progress: bool = True,
) -> CollectReport:
    """Plays each task ``repeats`` times and keeps the episodes that pass.

    A call that was killed is resumed by calling again: what the file holds already is not played again. In the end the
    file is ordered by seed and task, so that it does not depend on interruptions.

    Args:
        root: World root.
        split: AppWorld split.
        output: The JSONL file.
        policy: Who answers for the roles. A :class:`Teacher` plays each repeat with that repeat's seed.
        agents: Who plays.
        n_tasks: How many tasks of the split; None takes all.
        seed: Seed of the first repeat; the next has the next.
        repeats: Episodes a task.
        critic: Whether a team has a critic.
        limits: What an episode may use up.
        engine_limits: What a worker may use up.
        concurrency: Most episodes at once.
        progress: Whether to show a progress bar.

    Raises:
        UserError: There is no such world or split, ``repeats`` is below 1, or the file holds other data.
    """
    if repeats < 1:
        raise UserError(f"repeats is {repeats}; set it to 1 or more.")
    task_ids = choose_tasks(root, split, n_tasks)
    file = EpisodeFile(output)
    kept = {(episode.seed, episode.task_id): episode for episode in file.resume(world=world_name(root), agents=agents)}
    seeds = range(seed, seed + repeats)
    missing = {one: [task_id for task_id in task_ids if (one, task_id) not in kept] for one in seeds}
    played = sum(len(tasks) for tasks in missing.values())
    rejected: Counter[str] = Counter()

    if played:
        # The databases that collected episodes leave behind are of no more use once they have been judged.
        with (
            tempfile.TemporaryDirectory(prefix="prost-collect-") as scratch,
            Arena(root, Path(scratch), engine_limits) as arena,
        ):
            for one in seeds:
                player = policy.with_seed(one) if isinstance(policy, Teacher) else policy

                def keep(trajectory: Trajectory, player: Policy = player) -> None:
                    reason = trajectory.outcome.end_reason
                    if not trajectory.outcome.success or reason != COMPLETED:
                        rejected["failed_evaluation" if reason == COMPLETED else reason] += 1
                        return
                    if isinstance(player, Teacher):
                        trajectory = player.annotate(trajectory)
                    kept[trajectory.seed, trajectory.task_id] = trajectory
                    file.append(trajectory)

                arena.play(
                    missing[one],
                    split=split,
                    policy=player,
                    experiment=f"collect-seed{one}",
                    agents=agents,
                    critic=critic,
                    limits=limits,
                    seed=one,
                    concurrency=concurrency,
                    on_end=keep,
                    progress=progress,
                )
        write_trajectories(output, (kept[key] for key in sorted(kept)))
    return CollectReport(
        path=output,
        kept=len(kept),
        played=played,
        skipped=len(task_ids) * repeats - played,
        rejected=dict(rejected),
    )
