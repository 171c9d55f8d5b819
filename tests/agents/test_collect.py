from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from prost_lightning.agents import collect as collecting
from prost_lightning.agents.arena import Arena
from prost_lightning.agents.collect import collect, rejected_path
from prost_lightning.agents.evaluation import evaluate
from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.agents.policy import Completion, PolicyRequest
from prost_lightning.agents.tasks import choose_tasks
from prost_lightning.errors import UserError
from prost_lightning.trajectory import read_trajectories


class Liar(OraclePolicy):
    """Answers wrongly in every task of a question, and counts what it is asked."""

    asked = 0
    honest_in: tuple[str, ...] = ()

    def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
        Liar.asked += len(requests)
        replies = super().generate(requests)
        return [
            Completion("FINISH: 99") if reply.text.startswith("FINISH") and one.task_id not in self.honest_in else reply
            for one, reply in zip(requests, replies, strict=True)
        ]


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

    # A kill just before the file was ordered.
    output.write_bytes(b"".join(reversed(output.read_bytes().splitlines(keepends=True))))
    assert collect(mini_world, "train", output, policy, n_tasks=2, repeats=2, progress=False).played == 0
    assert output.read_bytes().splitlines(keepends=True)[:3] == lines[:3]


@pytest.fixture(scope="module")
def collected(mini_world: Path, tmp_path_factory: pytest.TempPathFactory, arena: Arena) -> Path:
    """Two tasks of train, collected with the teacher's own settings."""
    output = tmp_path_factory.mktemp("collected") / "trajectories.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "Arena", lambda *_: nullcontext(arena))
        collect(mini_world, "train", output, OraclePolicy(mini_world), n_tasks=2, progress=False)
    return output


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"split": "dev"}, "split is 'train', now 'dev'"),
        ({"agents": "single"}, "agents is 'team', now 'single'"),
        ({"critic": False}, "critic is True, now False"),
        ({"limits": EpisodeLimits(rejects=0)}, r"limits\.rejects is 2, now 0"),
        ({"mistake_rate": 0.9}, r"teacher\.mistake_rate is 0\.15, now 0\.9"),
        ({"vary_wording": False}, r"teacher\.vary_wording is True, now False"),
        ({"n_tasks": 1}, "1 of its 2 episodes are not among those asked for now"),
        ({"seed": 1}, "2 of its 2 episodes are not among those asked for now"),
    ],
)
def test_a_collection_with_other_settings_is_left_alone(
    mini_world: Path, collected: Path, settings: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(collecting, "Arena")
    teacher = {key: settings.pop(key) for key in ("mistake_rate", "vary_wording") if key in settings}
    arguments = {"split": "train", "n_tasks": 2, "progress": False} | settings
    before = collected.read_bytes()
    with pytest.raises(UserError, match=says):
        collect(mini_world, output=collected, policy=OraclePolicy(mini_world, **teacher), **arguments)
    assert collected.read_bytes() == before


def test_a_file_in_which_tasks_occur_twice_is_no_collection(
    mini_world: Path, collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(collecting, "Arena")
    output = tmp_path / "episodes.jsonl"
    output.write_bytes(2 * collected.read_bytes())
    with pytest.raises(UserError, match=r"episodes\.jsonl:3: task .* occurs twice for seed 0"):
        collect(mini_world, "train", output, OraclePolicy(mini_world), n_tasks=2, progress=False)
    assert output.read_bytes() == 2 * collected.read_bytes()


def test_only_what_the_evaluator_passes_is_kept(mini_world: Path, tmp_path: Path, started: None) -> None:
    output = tmp_path / "some.jsonl"
    policy = Liar(mini_world)
    policy.honest_in = (choose_tasks(mini_world, "dev", 2)[1],)
    report = collect(mini_world, "dev", output, policy, n_tasks=2, progress=False)
    assert (report.kept, report.rejected) == (1, {"failed_evaluation": 1})
    assert "1 trajectories, 2 episodes played now, 0 earlier; not kept" in str(report)
    assert str(tmp_path / "some.rejected.jsonl") in str(report)
    assert [episode.task_id for episode in read_trajectories(output)] == list(policy.honest_in)
    assert not read_trajectories(rejected_path(output))[0].outcome.success

    # What was rejected by chance must not turn up later in a file that a checkpoint was trained on.
    content, asked = output.read_bytes(), Liar.asked
    again = collect(mini_world, "dev", output, OraclePolicy(mini_world), n_tasks=2, progress=False)
    assert (again.kept, again.played, again.rejected) == (1, 0, {"failed_evaluation": 1})
    assert (output.read_bytes(), Liar.asked) == (content, asked)


def test_a_collection_that_keeps_nothing_says_why(mini_world: Path, tmp_path: Path, started: None) -> None:
    output = tmp_path / "none.jsonl"
    for _ in range(2):
        with pytest.raises(UserError, match=r"none of 2 episodes was kept \(2 failed_evaluation\).*none\.rejected"):
            collect(mini_world, "dev", output, Liar(mini_world), n_tasks=2, progress=False)


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
    with pytest.raises(UserError, match=r"limits\.turns is 24, now 5"):
        evaluate(
            mini_world, "dev", Liar(mini_world), tmp_path, n_tasks=2, limits=EpisodeLimits(turns=5), progress=False
        )
