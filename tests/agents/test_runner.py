"""Episodes on the real engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from prost_lightning.agents.arena import Arena, engine_limits_for
from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.agents.policy import Completion, PolicyRequest
from prost_lightning.agents.tasks import choose_tasks
from prost_lightning.appworld.engine import EngineLimits
from prost_lightning.errors import UserError
from prost_lightning.report import summarise
from prost_lightning.trajectory import Agents, Trajectory, encode

SPLITS = ("train", "dev", "test_normal", "test_challenge")


class Saboteur(OraclePolicy):
    """Plays like the oracle, but says something else to the executors of some tasks."""

    def __init__(self, root: Path, texts: dict[str, str]) -> None:
        super().__init__(root, mistake_rate=0, lookup_rate=0)
        self.texts = texts
        self.batches: list[int] = []

    def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
        self.batches.append(len(requests))
        honest = super().generate(requests)
        return [
            Completion(self.texts[request.task_id])
            if request.task_id in self.texts and request.role == "executor"
            else reply
            for request, reply in zip(requests, honest, strict=True)
        ]


@pytest.mark.parametrize(("agents", "splits"), [("team", SPLITS), ("single", SPLITS[1:2])])
def test_the_oracle_solves_the_world(arena: Arena, mini_world: Path, agents: Agents, splits: tuple[str, ...]) -> None:
    played = []
    for split in splits:
        policy = OraclePolicy(mini_world, seed=5, mistake_rate=0.3, lookup_rate=0.3)
        experiment = f"oracle-{agents}"
        # One task of each scenario is enough: the build has played every script.
        tasks = [task_id for task_id in choose_tasks(mini_world, split) if task_id.endswith("_1")]
        played += arena.play(
            tasks, split=split, policy=policy, experiment=experiment, agents=agents, seed=5, progress=False
        )
    assert sum(episode.outcome.success for episode in played) >= 0.95 * len(played)
    assert {episode.world for episode in played} == {arena.world}
    assert all(episode.template and episode.difficulty in (1, 2, 3) for episode in played)
    assert any(step.error for episode in played for step in episode.steps), "the engine never complained"
    if agents == "team":
        attempts = [sub_task.attempts for episode in played for sub_task in episode.sub_tasks]
        assert 2 in attempts, "no mistake was made, rejected and corrected"


def test_episodes_do_not_depend_on_how_many_run_at_once(arena: Arena, mini_world: Path) -> None:
    tasks = choose_tasks(mini_world, "dev", 3)

    def play(concurrency: int) -> list[bytes]:
        episodes = arena.play(
            tasks,
            split="dev",
            policy=OraclePolicy(mini_world, seed=1),
            experiment="same",
            concurrency=concurrency,
            progress=False,
        )
        for episode in episodes:
            episode.seconds = 0.0
        return [encode(episode) for episode in episodes]

    assert play(1) == play(3)


def test_a_bad_turn_costs_its_own_episode_only(arena: Arena, mini_world: Path) -> None:
    tasks = choose_tasks(mini_world, "dev", 5)
    bad = {
        tasks[0]: ("```python\nraise KeyboardInterrupt\n```", "env_error"),
        tasks[1]: ("```python\nsum(range(10**12))\n```", "limit:execute_seconds"),
        tasks[3]: ("I do not know.", "policy_error"),
    }
    policy = Saboteur(mini_world, {task_id: text for task_id, (text, _) in bad.items()})
    ended: list[Trajectory] = []
    episodes = arena.play(tasks, split="dev", policy=policy, experiment="bad", on_end=ended.append, progress=False)
    assert [(episode.task_id, episode.outcome.end_reason, episode.outcome.success) for episode in episodes] == [
        (task_id, bad[task_id][1] if task_id in bad else "completed", task_id not in bad) for task_id in tasks
    ]
    assert sorted(ended, key=lambda episode: tasks.index(episode.task_id)) == episodes
    assert max(policy.batches) == len(tasks), "turns were not answered in one batch"
    assert summarise(episodes)["end_reasons"]["completed"] == 2


def test_time_is_limited(arena: Arena, mini_world: Path) -> None:
    class Slow(OraclePolicy):
        def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
            time.sleep(0.6)
            return super().generate(requests)

    (episode,) = arena.play(
        choose_tasks(mini_world, "dev", 1),
        split="dev",
        policy=Slow(mini_world),
        experiment="late",
        limits=EpisodeLimits(seconds=1),
        progress=False,
    )
    assert episode.outcome.end_reason == "limit:seconds"
    assert not episode.outcome.success


def test_the_episode_s_limits_are_the_ones_that_bind(arena: Arena, mini_world: Path) -> None:
    (task,) = choose_tasks(mini_world, "dev", 1)
    policy = Saboteur(mini_world, {task: "```python\nprint(2500 * 'x')\n```"})
    limits = EpisodeLimits(sub_tasks=1, turns_per_sub_task=1, output_chars=3000)
    (episode,) = arena.play([task], split="dev", policy=policy, experiment="long", limits=limits, progress=False)
    assert episode.steps[0].output.strip() == 2500 * "x"
    assert episode.metadata["limits"] == asdict(limits)

    engine = engine_limits_for(EpisodeLimits(seconds=900), EngineLimits())
    assert engine.episode_seconds > 900
    generous = EngineLimits(episode_seconds=5000, output_chars=9000)
    assert engine_limits_for(limits, generous) == generous


def test_a_single_agent_that_gives_up_has_not_completed(arena: Arena, mini_world: Path) -> None:
    class Quitter(OraclePolicy):
        def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
            code = '```python\napis.supervisor.complete_task(status="fail")\n```'
            return [Completion(code) for _ in requests]

    (episode,) = arena.play(
        choose_tasks(mini_world, "dev", 1),
        split="dev",
        policy=Quitter(mini_world),
        experiment="quit",
        agents="single",
        progress=False,
    )
    assert (episode.outcome.end_reason, episode.outcome.success) == ("gave_up", False)


def test_an_error_of_the_policy_is_raised(arena: Arena, mini_world: Path) -> None:
    class Broken(OraclePolicy):
        def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        arena.play(
            choose_tasks(mini_world, "dev", 2), split="dev", policy=Broken(mini_world), experiment="x", progress=False
        )


def test_senseless_arguments_are_refused(arena: Arena, mini_world: Path) -> None:
    (task,) = choose_tasks(mini_world, "dev", 1)
    policy = OraclePolicy(mini_world)
    with pytest.raises(UserError, match="listed twice"):
        arena.play([task, task], split="dev", policy=policy, experiment="x")
    with pytest.raises(UserError, match="concurrency is 0"):
        arena.play([task], split="dev", policy=policy, experiment="x", concurrency=0)
    with pytest.raises(UserError, match="n_tasks is 0"):
        choose_tasks(mini_world, "dev", 0)
