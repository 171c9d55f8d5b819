from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from prost_lightning.agents.collect import collect
from prost_lightning.agents.evaluation import evaluate
from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.agents.policy import Completion, PolicyRequest
from prost_lightning.agents.tasks import choose_tasks
from prost_lightning.errors import UserError
from prost_lightning.trajectory import read_trajectories


class Liar(OraclePolicy):
    """Answers wrongly in every task of a question, and counts what it is asked."""

    asked = 0

    def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
        Liar.asked += len(requests)
        replies = super().generate(requests)
        return [Completion("FINISH: 99") if reply.text.startswith("FINISH") else reply for reply in replies]


def test_collecting_can_be_interrupted(mini_world: Path, tmp_path: Path, started: None) -> None:
    output = tmp_path / "trajectories.jsonl"
    policy = OraclePolicy(mini_world)
    first = collect(mini_world, "train", output, policy, n_tasks=2, repeats=2, progress=False)
    assert (first.kept, first.played, first.skipped, first.rejected) == (4, 4, 0, {})
    collected = read_trajectories(output)
    assert [(t.seed, t.task_id) for t in collected] == sorted((t.seed, t.task_id) for t in collected)
    assert {t.seed for t in collected} == {0, 1}
    assert all(t.outcome.success and t.policy == "oracle" for t in collected)

    # A kill left three whole lines and half of the fourth.
    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:3]) + lines[3][:100])
    second = collect(mini_world, "train", output, policy, n_tasks=2, repeats=2, progress=False)
    assert (second.kept, second.played, second.skipped) == (4, 1, 3)
    assert output.read_bytes().splitlines(keepends=True)[:3] == lines[:3]
    again = read_trajectories(output)[3]
    assert again.conversations == collected[3].conversations

    with pytest.raises(UserError, match="belongs to another run"):
        collect(mini_world, "train", output, policy, agents="single", n_tasks=2, progress=False)


def test_only_what_the_evaluator_passes_is_kept(mini_world: Path, tmp_path: Path, started: None) -> None:
    output = tmp_path / "none.jsonl"
    report = collect(mini_world, "dev", output, Liar(mini_world), n_tasks=2, progress=False)
    assert (report.kept, report.rejected) == (0, {"failed_evaluation": 2})
    assert read_trajectories(output) == []


def test_an_evaluation_goes_on_where_it_stopped(mini_world: Path, tmp_path: Path, started: None) -> None:
    episodes = evaluate(mini_world, "dev", Liar(mini_world), tmp_path, n_tasks=2, progress=False)
    assert [episode.task_id for episode in episodes] == choose_tasks(mini_world, "dev", 2)
    assert not any(episode.outcome.success for episode in episodes)
    file = tmp_path / "episodes.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    left = read_trajectories(file)[0].task_id
    asked = Liar.asked
    assert len(evaluate(mini_world, "dev", Liar(mini_world), tmp_path, n_tasks=2, progress=False)) == 2
    assert 0 < Liar.asked - asked < asked
    assert {t.task_id for t in read_trajectories(file)} == {episode.task_id for episode in episodes} > {left}
    asked = Liar.asked
    evaluate(mini_world, "dev", Liar(mini_world), tmp_path, n_tasks=2, progress=False)
    assert Liar.asked == asked
    with pytest.raises(UserError, match="seed"):
        evaluate(mini_world, "dev", Liar(mini_world), tmp_path, n_tasks=2, seed=8, progress=False)
