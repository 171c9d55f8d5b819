from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from prost_lightning.agents.episode import Episode, ExecuteRequest
from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.agents.single import single_episode
from prost_lightning.agents.team import team_episode
from prost_lightning.appworld.engine import Observation
from prost_lightning.errors import UserError
from prost_lightning.miniworld.script import Mistake, Script, ScriptStep, SubTaskCheck
from prost_lightning.trajectory import Outcome, Trajectory

TASK = "abc1234_1"
REASON = "The login is missing."


def step(name: str) -> ScriptStep:
    return ScriptStep(
        kind="compute",
        apps=["spotify"],
        goals=[f"Goal of {name}.", f"Aim of {name}."],
        plans=[f"Plan of {name}.", f"Way of {name}."],
        lookups=[("spotify", "login")],
        code=f"run_{name}()",
        result=f"done {name}",
        mistakes=[Mistake("missing_login", f"fail_{name}()", REASON)],
        check=SubTaskCheck([], f"done {name}"),
    )


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world of one script; there is no engine behind it."""
    (tmp_path / "data" / "datasets").mkdir(parents=True)
    directory = tmp_path / "data" / "tasks" / TASK / "ground_truth"
    directory.mkdir(parents=True)
    script = Script(task_id=TASK, template="t", difficulty=1, steps=[step("one"), step("two")], answer="12")
    (directory / "script.json").write_bytes(msgspec.json.encode(script))
    return tmp_path


def engine(code: str) -> Observation:
    output = "Execution failed. Traceback:\nException: 401" if code.startswith("fail") else "..."
    if code.startswith("run"):
        output = f"done {code[4:-2]}"
    return Observation(output, code.startswith("fail"), False, "complete_task" in code, 0.0)


def play(policy: OraclePolicy, episode: Episode, agents: str = "team") -> Episode:
    turns = team_episode(episode) if agents == "team" else single_episode(episode)
    request = next(turns)
    while not episode.end_reason:
        try:
            is_code = isinstance(request, ExecuteRequest)
            request = turns.send(engine(request.code) if is_code else policy.generate([request])[0])
        except StopIteration:
            break
    return episode


def as_trajectory(episode: Episode, agents: str) -> Trajectory:
    return Trajectory(
        task_id=TASK,
        world="w",
        split="dev",
        agents=agents,  # type: ignore[arg-type]
        policy="oracle",
        seed=0,
        instruction="",
        sub_tasks=episode.sub_tasks,
        conversations=episode.conversations,
        steps=episode.steps,
        outcome=Outcome(True, episode.end_reason),
    )


def test_without_deviations_it_plays_the_script(world: Path, start) -> None:
    episode = play(OraclePolicy(world, mistake_rate=0, lookup_rate=0), start(EpisodeLimits()))
    assert episode.end_reason == "completed"
    codes = ["run_one()", "run_two()", "apis.supervisor.complete_task(answer='12', status=\"success\")"]
    assert [step.code for step in episode.steps] == codes
    assert [(s.result, s.attempts) for s in episode.sub_tasks] == [("done one", 1), ("done two", 1)]
    assert all(m.train for c in episode.conversations for m in c.messages)


def test_a_mistake_is_made_rejected_and_corrected(world: Path, start) -> None:
    episode = play(OraclePolicy(world, mistake_rate=1, lookup_rate=1), start(EpisodeLimits()))
    assert episode.end_reason == "completed"
    assert [s.attempts for s in episode.sub_tasks] == [2, 2]
    assert [s.result for s in episode.sub_tasks] == ["done one", "done two"]
    executor = next(c for c in episode.conversations if c.role == "executor")
    turns = [
        (m.content.splitlines()[1 if "`" in m.content else 0], m.train)
        for m in executor.messages
        if m.role == "assistant"
    ]
    assert turns == [
        ('doc = apis.api_docs.show_api_doc(app_name="spotify", api_name="login")', True),
        ("fail_one()", False),
        ("RESULT: Exception: 401", False),
        ("run_one()", True),
        ("RESULT: done one", True),
    ]
    verdicts = [c.messages[-1] for c in episode.conversations if c.role == "critic"]
    assert [(v.content, v.train) for v in verdicts] == [(f"REJECT: {REASON}", True), ("ACCEPT", True)] * 2


def test_choices_follow_from_the_seed_alone(world: Path, start) -> None:
    def played(seed: int) -> list[list[str]]:
        episode = play(OraclePolicy(world, seed, 0.5, 0.5), start(EpisodeLimits()))
        return [[m.content for m in c.messages] for c in episode.conversations]

    assert played(3) == played(3)
    assert len({str(played(seed)) for seed in range(12)}) > 6


def test_wording_can_be_left_to_the_seed(world: Path, start) -> None:
    def goals(seed: int, vary_wording: bool) -> set[str]:
        policy = OraclePolicy(world, seed, 0, 0, vary_wording=vary_wording)
        episode = play(policy, start(EpisodeLimits()))
        return {sub_task.goal.split()[0] for sub_task in episode.sub_tasks}

    assert all(len(goals(seed, vary_wording=False)) == 1 for seed in range(8))
    assert {len(goals(seed, vary_wording=True)) for seed in range(8)} == {1, 2}
    assert {str(goals(seed, vary_wording=False)) for seed in range(8)} == {"{'Goal'}", "{'Aim'}"}


def test_a_critic_that_sees_another_result_than_the_script_s_rejects(world: Path, start) -> None:
    policy = OraclePolicy(world, mistake_rate=0, lookup_rate=0)
    turns = team_episode(start(EpisodeLimits()))
    request = next(turns)
    for _ in range(2):
        request = turns.send(policy.generate([request])[0])
    request = turns.send(Observation("done something else", False, False, False, 0.0))
    request = turns.send(policy.generate([request])[0])
    assert request.role == "critic"
    assert policy.generate([request])[0].text.startswith("REJECT: ")


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_single_agent_s_turns_get_their_sub_tasks(world: Path, start, rate: float) -> None:
    policy = OraclePolicy(world, mistake_rate=rate, lookup_rate=rate)
    episode = play(policy, start(EpisodeLimits()), "single")
    assert episode.end_reason == "completed"
    trajectory = policy.annotate(as_trajectory(episode, "single"))
    (conversation,) = trajectory.conversations
    turns = [(m.position, m.train) for m in conversation.messages if m.role == "assistant"]
    once = [(1, True), (2, True), (2, True)]
    assert turns == (once if rate == 0 else [(1, True), (1, False), (1, True), (2, True), (2, False), *once[1:]])
    assert [s.goal for s in trajectory.sub_tasks] == ["Goal of one.", "Goal of two."]
    msgspec.json.decode(msgspec.json.encode(trajectory), type=Trajectory)


def test_rates_are_shares(world: Path) -> None:
    with pytest.raises(UserError, match="mistake_rate is 15"):
        OraclePolicy(world, mistake_rate=15)


def test_worlds_without_scripts_have_no_oracle(world: Path, start) -> None:
    (world / "data" / "tasks" / TASK / "ground_truth" / "script.json").unlink()
    with pytest.raises(UserError, match="no script"):
        play(OraclePolicy(world), start(EpisodeLimits()))
