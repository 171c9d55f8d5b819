"""Evaluating a policy without training: play tasks, save each episode, go on where an earlier call stopped."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from prost_lightning.agents import prompts
from prost_lightning.agents.arena import Arena
from prost_lightning.agents.limits import DEFAULT_LIMITS, EpisodeLimits
from prost_lightning.agents.policy import Policy
from prost_lightning.agents.records import EpisodeFile
from prost_lightning.agents.tasks import choose_tasks
from prost_lightning.appworld.data import world_name
from prost_lightning.appworld.engine import EngineLimits
from prost_lightning.appworld.protections import Sandbox
from prost_lightning.trajectory import Agents, Trajectory

EPISODES_FILE = "episodes.jsonl"
ENGINE_DIR = "appworld"


def evaluate(
    root: Path,
    split: str,
    policy: Policy,
    output_dir: Path,
    *,
    n_tasks: int | None = None,
    agents: Agents = "team",
    critic: bool = True,
    limits: EpisodeLimits = DEFAULT_LIMITS,
    engine_limits: EngineLimits | None = None,
    concurrency: int = 8,
    sandbox: Sandbox = "auto",
    server: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[Trajectory]:
    """Plays tasks of a split and saves each episode to ``output_dir/episodes.jsonl`` as it ends.

    Episodes that the file holds already are not played again, so a call that was killed is resumed by calling again.

    Args:
        root: World root.
        split: AppWorld split.
        policy: Who answers for the roles.
        output_dir: Where episodes and the databases that they leave behind are kept.
        n_tasks: How many tasks of the split; None takes all.
        agents: Who plays.
        critic: Whether a team has a critic.
        limits: What an episode may use up.
        engine_limits: What a worker may use up.
        concurrency: Most episodes at once.
        sandbox: As for :class:`~prost_lightning.appworld.pool.AppWorldPool`.
        server: As for :class:`~prost_lightning.agents.arena.Arena`, saving below ``output_dir/appworld``.
        seed: Seed of the policy's choices, for the record.
        progress: Whether to show a progress bar.

    Returns:
        One episode a task, in the order of the split.

    Raises:
        UserError: There is no such world or split, or the file holds episodes of another run.
    """
    task_ids = choose_tasks(root, split, n_tasks)
    file = EpisodeFile(output_dir / EPISODES_FILE)
    episodes = file.resume_by_task(
        world=world_name(root),
        split=split,
        agents=agents,
        policy=policy.name,
        seed=seed,
        critic=critic and agents == "team",
        prompt_version=prompts.PROMPT_VERSION,
        limits=asdict(limits),
    )
    by_task = {task_id: episode for (_, task_id), episode in episodes.items()}
    missing = [task_id for task_id in task_ids if task_id not in by_task]
    if missing:
        file.create()
        with Arena(root, output_dir / ENGINE_DIR, engine_limits, concurrency, sandbox, server) as arena:
            played = arena.play(
                missing,
                split=split,
                policy=policy,
                experiment=f"evaluate-{split}",
                agents=agents,
                critic=critic,
                limits=limits,
                seed=seed,
                concurrency=concurrency,
                on_end=file.append,
                progress=progress,
            )
        by_task |= {episode.task_id: episode for episode in played}
    return [by_task[task_id] for task_id in task_ids]
