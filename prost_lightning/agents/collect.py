"""Collecting training data: play episodes, keep those that AppWorld's evaluator passes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from prost_lightning.agents import prompts
from prost_lightning.agents.arena import Arena
from prost_lightning.agents.limits import COMPLETED, DEFAULT_LIMITS, EpisodeLimits
from prost_lightning.agents.policy import Policy
from prost_lightning.agents.records import EpisodeFile
from prost_lightning.agents.tasks import choose_tasks
from prost_lightning.appworld.data import world_name
from prost_lightning.appworld.engine import EngineLimits
from prost_lightning.appworld.protections import Sandbox
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Agents, Trajectory, write_trajectories


@runtime_checkable
class Teacher(Policy, Protocol):
    """A policy that knows the solutions: it can play a task in several ways and say what a single agent's turns do."""

    @property
    def settings(self) -> dict[str, Any]:
        """What its choices follow from besides the seed, for the record."""

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
        skipped: Episodes that an earlier call had played already.
        rejected: Episodes that were not kept, by reason: how they ended, or ``failed_evaluation`` for those that
            completed their task wrongly. They are in the file ``rejected_path(path)``.
    """

    path: Path
    kept: int
    played: int
    skipped: int
    rejected: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        text = f"{self.path}: {self.kept} trajectories, {self.played} episodes played now, {self.skipped} earlier"
        return f"{text}; not kept ({rejected_path(self.path)}): {_counts(self.rejected)}" if self.rejected else text


def rejected_path(output: Path) -> Path:
    """Where a collection keeps the episodes that are no training data: ``x.rejected.jsonl`` beside ``x.jsonl``."""
    return output.with_name(f"{output.stem}.rejected{output.suffix}")


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
    limits: EpisodeLimits = DEFAULT_LIMITS,
    engine_limits: EngineLimits | None = None,
    concurrency: int = 8,
    sandbox: Sandbox = "auto",
    progress: bool = True,
) -> CollectReport:
    """Plays each task ``repeats`` times and keeps the episodes that pass.

    A call that was killed is resumed by calling again: no episode is played twice, whether it was kept or rejected. So
    a finished collection stays as it is. In the end the file is ordered by seed and task, so that it does not depend on
    interruptions.

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
        sandbox: As for :class:`~prost_lightning.appworld.pool.AppWorldPool`.
        progress: Whether to show a progress bar.

    Raises:
        UserError: There is no such world or split, ``repeats`` is below 1, the file holds other data or more than is
            asked for, or no episode was kept.
    """
    if repeats < 1:
        raise UserError(f"repeats is {repeats}; set it to 1 or more.")
    task_ids = choose_tasks(root, split, n_tasks)
    seeds = range(seed, seed + repeats)
    wanted = [(one, task_id) for one in seeds for task_id in task_ids]
    teacher = {"teacher": policy.settings if isinstance(policy, Teacher) else {}}
    expected = {
        "world": world_name(root),
        "split": split,
        "agents": agents,
        "policy": policy.name,
        "critic": critic and agents == "team",
        "prompt_version": prompts.PROMPT_VERSION,
        "limits": asdict(limits),
        **teacher,
    }
    file, rejects = EpisodeFile(output), EpisodeFile(rejected_path(output))
    kept, rejected = file.resume_by_task(**expected), rejects.resume_by_task(**expected)
    surplus = kept.keys() - wanted
    if surplus:
        raise UserError(
            f"{output}: {len(surplus)} of its {len(kept)} episodes are not among those asked for now; raise n_tasks or "
            "repeats, set the seed back, or write to another place."
        )
    done = kept.keys() | rejected.keys()
    missing = {one: [task_id for task_id in task_ids if (one, task_id) not in done] for one in seeds}
    played = sum(len(tasks) for tasks in missing.values())

    if played:
        file.create()
        # The databases that collected episodes leave behind are of no more use once they have been judged.
        with (
            tempfile.TemporaryDirectory(prefix="prost-collect-") as scratch,
            Arena(root, Path(scratch), engine_limits, concurrency, sandbox) as arena,
        ):
            for one in seeds:
                player = policy.with_seed(one) if isinstance(policy, Teacher) else policy

                def keep(trajectory: Trajectory, player: Policy = player) -> None:
                    trajectory.metadata |= teacher
                    accepted = trajectory.outcome.success and trajectory.outcome.end_reason == COMPLETED
                    if accepted and isinstance(player, Teacher):
                        trajectory = player.annotate(trajectory)
                    (kept if accepted else rejected)[trajectory.seed, trajectory.task_id] = trajectory
                    (file if accepted else rejects).append(trajectory)

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
    if list(kept) != sorted(kept):
        write_trajectories(output, (kept[key] for key in sorted(kept)))
    reasons = Counter(_why_rejected(rejected[key]) for key in wanted if key in rejected)
    if not kept:
        raise UserError(
            f"{output}: none of {len(wanted)} episodes was kept ({_counts(reasons)}); look into {rejects.path}, and "
            "delete it to have them played again."
        )
    return CollectReport(
        path=output, kept=len(kept), played=played, skipped=len(wanted) - played, rejected=dict(reasons)
    )


def _why_rejected(episode: Trajectory) -> str:
    reason = episode.outcome.end_reason
    return "failed_evaluation" if reason == COMPLETED else reason


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items())
