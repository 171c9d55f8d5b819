"""Saved episodes, run again on the real engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from prost_lightning.agents.arena import Arena
from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.agents.policy import Completion, PolicyRequest
from prost_lightning.agents.replay import replay
from prost_lightning.agents.tasks import choose_tasks
from prost_lightning.cli import main
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Trajectory, append_trajectory, read_trajectories

_WRONG = [
    "```python\nprint('long ' * 10_000)\n```",
    "```python\nprint(apis.spotify.show_song_library())\n```",
    "```python\nimport random\nx = {random.random(): 1}\nprint(x, {'a', 'b', 'c'}, hash('a'))\n```",
    "```python\nprint(apis.supervisor.show_account_passwords(), 1 / 0)\n```",
]


class Bungler(OraclePolicy):
    """Executes odd things before what is right, and nothing but odd things from the second sub-task on."""

    def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
        return [
            Completion(_WRONG[len(request.messages) // 2 % len(_WRONG)])
            if request.role == "executor" and (request.position > 1 or len(request.messages) < 2 + 2 * len(_WRONG))
            else reply
            for request, reply in zip(requests, super().generate(requests), strict=True)
        ]


@pytest.fixture(scope="module")
def saved(arena: Arena, mini_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes that were solved, with mistakes on the way, and episodes that went wrong."""
    path = tmp_path_factory.mktemp("saved") / "episodes.jsonl"
    tasks = choose_tasks(mini_world, "dev", 4)
    for name, policy in (("good", OraclePolicy(mini_world, 3, 0.5, 0.5)), ("bad", Bungler(mini_world))):
        arena.play(
            tasks,
            split="dev",
            policy=policy,
            experiment=f"replay-{name}",
            on_end=lambda episode: append_trajectory(path, episode),
            progress=False,
        )
    return path


def test_the_same_code_gives_the_same_observations_and_verdicts_and_what_differs_is_said(
    saved: Path, mini_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = read_trajectories(saved)
    outputs = [step.output for episode in episodes for step in episode.steps]
    assert any("middle cut out" in output for output in outputs)
    assert any(step.error for episode in episodes for step in episode.steps)
    assert {episode.outcome.success for episode in episodes} == {True, False}

    first, second, *_ = episodes
    step = msgspec.structs.replace(first.steps[1], output="something else")
    changed = msgspec.structs.replace(first, steps=[first.steps[0], step, *first.steps[2:]])
    judged = msgspec.structs.replace(second.outcome, passes=99)
    path = saved.with_name("changed.jsonl")
    for episode in (*episodes, changed, msgspec.structs.replace(second, outcome=judged)):
        append_trajectory(path, episode)
    assert main(["replay", "--episodes", str(path), "--world", str(mini_world)]) == 2
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert "execution 2 gave" in said
    assert "passes" in said
    # So all that was left as it was came out the same, to the last character.
    assert f"2 of {len(episodes) + 2} episodes" in said


def test_an_episode_of_another_world_is_refused(mini_world: Path, make_trajectory: Callable[..., Trajectory]) -> None:
    with pytest.raises(UserError, match="ran in mini:seed0"):
        replay([make_trajectory(1)], mini_world)
