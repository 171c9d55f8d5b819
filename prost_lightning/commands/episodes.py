"""Commands that play episodes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from prost_lightning.agents.limits import DEFAULT_LIMITS, EpisodeLimits
from prost_lightning.appworld.protections import Sandbox
from prost_lightning.trajectory import Agents


def collect(
    output: Path | None = None,
    world: Path = Path("worlds/mini"),
    split: str = "train",
    policy: Literal["oracle"] = "oracle",
    agents: Agents = "team",
    n_tasks: int | None = None,
    repeats: int = 1,
    seed: int = 7,
    mistake_rate: float = 0.15,
    lookup_rate: float = 0.2,
    vary_wording: bool = True,
    limits: EpisodeLimits = DEFAULT_LIMITS,
    concurrency: int = 4,
    sandbox: Sandbox = "auto",
) -> None:
    """Plays episodes with a teacher and keeps those that AppWorld's evaluator passes, as training trajectories.

    Args:
        output: The trajectory file (JSONL), by default WORLD/trajectories.jsonl, named after split and agents where
            they are not train and team. Episodes that were played already are not played again; those that did not pass
            are kept apart, in a file that is named `*.rejected.jsonl`.
        world: Root of the world, or `official`.
        split: Which of its tasks to play.
        policy: Who plays. The oracle knows the generated world's solutions, and errs on purpose now and then.
        agents: Play as a team or as a single agent.
        n_tasks: How many tasks; all by default.
        repeats: How often to play each task, with other wordings and other mistakes.
        seed: Seed of the teacher's choices.
        mistake_rate: Share of sub-tasks that start with a mistake, a rejection and a correction.
        lookup_rate: Share of sub-tasks that start with a look into the API documentation.
        vary_wording: Word each task's goals and plans anew; false is easier to learn from few trajectories.
        limits: What an episode may use up.
        concurrency: Episodes at once.
        sandbox: Protection from code that a model writes: auto uses what the system offers and says what is missing,
            strict refuses to run without all of it, off does without.
    """
    from prost_lightning.agents.collect import collect as collect_trajectories
    from prost_lightning.agents.oracle_policy import OraclePolicy
    from prost_lightning.appworld.official import resolve_world

    world = resolve_world(world)
    teacher = OraclePolicy(
        world, seed=seed, mistake_rate=mistake_rate, lookup_rate=lookup_rate, vary_wording=vary_wording
    )
    name = "-".join(["trajectories", *(part for part in (agents, split) if part not in ("team", "train"))])
    report = collect_trajectories(
        world,
        split,
        output or world / f"{name}.jsonl",
        policy=teacher,
        agents=agents,
        n_tasks=n_tasks,
        seed=seed,
        repeats=repeats,
        limits=limits,
        concurrency=concurrency,
        sandbox=sandbox,
    )
    print(report)


def evaluate(
    adapters: Path | None = None,
    base_model: str | None = None,
    world: Path = Path("worlds/mini"),
    split: str = "dev",
    n_tasks: int | None = None,
    agents: Agents = "team",
    critic: bool = True,
    limits: EpisodeLimits = DEFAULT_LIMITS,
    policy: Literal["model", "oracle"] = "model",
    quantization: Literal["nf4", "none"] = "nf4",
    output_dir: Path | None = None,
    concurrency: int = 8,
    sandbox: Sandbox = "auto",
    server: str | None = None,
    max_batch: int = 8,
    seed: int = 0,
    download: bool = False,
) -> None:
    """Plays episodes without training, saves each as it ends, and prints effectiveness and cost.

    A call that was killed is resumed by calling again: episodes that are saved already are not played again.

    Args:
        adapters: Directory of a run's exported adapters (RUN/adapters); without it the base model plays as it is.
        base_model: The base that the adapters belong to; by default the one that they name themselves.
        world: Root of the world, or `official`.
        split: Which of its tasks to play.
        n_tasks: How many tasks; all by default.
        agents: A team, or a single agent.
        critic: Whether the team has a critic.
        limits: What an episode may use up. For figures that compare with those of a run, those of its AppWorldEval.
        policy: Who plays: the model, or the oracle (the teacher, as an upper bound).
        quantization: nf4 (4 bits) or none.
        output_dir: Where episodes and the summary go; by default a directory named after what is evaluated.
        concurrency: Episodes at once.
        sandbox: Protection from code that a model writes: auto uses what the system offers and says what is missing,
            strict refuses to run without all of it, off does without.
        server: URL of a running AppWorld server (in AppWorld's Docker image, say) that plays the episodes instead, one
            at a time, and saves them in OUTPUT_DIR/appworld/experiments/outputs; docs/workers.md has the commands.
        max_batch: Most turns in one batch of the model.
        seed: Seed of the policy's choices.
        download: Download AppWorld's official data first, where `--world official` does not find them.
    """
    from rich.console import Console

    from prost_lightning.agents.evaluation import evaluate as evaluate_policy
    from prost_lightning.agents.local_policy import LocalPolicy, load_local_policy
    from prost_lightning.agents.oracle_policy import OraclePolicy
    from prost_lightning.agents.policy import Policy
    from prost_lightning.allocation import shared_allocation
    from prost_lightning.appworld.official import resolve_world
    from prost_lightning.provenance import provenance
    from prost_lightning.report import summarise, summary_table

    world = resolve_world(world, download=download)
    player: Policy
    if policy == "oracle":
        player = OraclePolicy(world, seed=seed)
    else:
        player = load_local_policy(base_model, adapters, quantization=quantization, max_batch=max_batch)
    if output_dir is None:
        label = "oracle" if policy == "oracle" else (adapters.resolve().parent.name if adapters else "base")
        output_dir = Path("runs") / f"evaluate-{label}-{agents}-{split}"
    episodes = evaluate_policy(
        world,
        split,
        player,
        output_dir,
        n_tasks=n_tasks,
        agents=agents,
        critic=critic,
        limits=limits,
        concurrency=concurrency,
        sandbox=sandbox,
        server=server,
        seed=seed,
    )
    summary = provenance() | summarise(episodes) | {"critic": critic and agents == "team", "limits": asdict(limits)}
    if isinstance(player, LocalPolicy):
        summary["allocation"] = shared_allocation(agents, critic, player.size)
    if policy == "model" and adapters is not None:
        summary["adapters"] = str(adapters.resolve())
    path = output_dir / "summary.json"
    path.write_text(json.dumps(summary, indent=2) + "\n")
    console = Console()
    console.print(summary_table({player.name: summary}))
    console.print(f"Written: {path}, {output_dir / 'episodes.jsonl'}", highlight=False)


def replay(episodes: Path, world: Path = Path("worlds/mini"), concurrency: int = 4) -> None:
    """Runs the code of saved episodes again, and compares every observation and every verdict with what was saved.

    Args:
        episodes: A file of episodes or trajectories (JSONL).
        world: Root of the world that they were played in, or `official`.
        concurrency: Episodes at once.
    """
    from tqdm import tqdm

    from prost_lightning.agents.replay import replay as replay_episodes
    from prost_lightning.appworld.official import resolve_world
    from prost_lightning.errors import UserError
    from prost_lightning.trajectory import read_trajectories

    saved = read_trajectories(episodes)
    with tqdm(total=len(saved), desc="replay", unit="episode") as bar:
        results = replay_episodes(saved, resolve_world(world), concurrency=concurrency, on_end=bar.update)
    different = [result for result in results if not result.identical]
    for result in different:
        print(f"{result.episode.task_id} (seed {result.episode.seed}): {result.difference}")
    if different:
        raise UserError(f"{episodes}: {len(different)} of {len(results)} episodes gave something else this time.")
    print(f"{len(results)} episodes: every observation and every verdict as it was.")
