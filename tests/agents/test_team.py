from __future__ import annotations

import pytest

from prost_lightning.agents.episode import Episode, ExecuteRequest
from prost_lightning.agents.limits import EpisodeEnd, EpisodeLimits
from prost_lightning.agents.policy import Completion, PolicyRequest
from prost_lightning.agents.team import team_episode
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Outcome, Trajectory

LOGIN = "SUBTASK (login; spotify): Log in to spotify.\nPLAN: Use the password."
COUNT = "SUBTASK (compute; spotify): Count the songs.\nPLAN: Call the library."
CODE = "```python\nprint(1)\n```"
GOOD = [CODE, "RESULT: 1", "ACCEPT"]


def said(episode: Episode, role: str) -> list[list[str]]:
    return [[m.content for m in c.messages if m.role == "user"] for c in episode.conversations if c.role == role]


def as_trajectory(episode: Episode) -> Trajectory:
    """Whatever happened, the record must be a valid trajectory."""
    return Trajectory(
        task_id="abc1234_1",
        world="w",
        split="dev",
        agents="team",
        policy="script",
        seed=0,
        instruction="",
        sub_tasks=episode.sub_tasks,
        conversations=episode.conversations,
        steps=episode.steps,
        outcome=Outcome(False, episode.end_reason),
        usage=episode.usage,
    )


def test_a_clean_episode(start, play) -> None:
    episode = start(EpisodeLimits())
    requests = play(team_episode(episode), [LOGIN, *GOOD, COUNT, *GOOD, "FINISH: 7"])
    assert episode.end_reason == "completed"
    assert [(s.position, s.kind, s.accepted, s.attempts, s.result) for s in episode.sub_tasks] == [
        (1, "login", True, 1, "1"),
        (2, "compute", True, 1, "1"),
    ]
    assert [(r.role, r.position) for r in requests if isinstance(r, PolicyRequest)] == [
        ("orchestrator", 1), ("executor", 1), ("executor", 1), ("critic", 1),
        ("orchestrator", 2), ("executor", 2), ("executor", 2), ("critic", 2),
        ("orchestrator", 3),
    ]  # fmt: skip
    assert requests[-1] == ExecuteRequest('apis.supervisor.complete_task(answer=7, status="success")')
    assert [step.position for step in episode.steps] == [1, 2, None]
    assert [c.role for c in episode.conversations] == ["orchestrator", "executor", "critic", "executor", "critic"]
    as_trajectory(episode)


def test_every_trained_turn_knows_its_sub_task_and_the_last_turn_belongs_to_the_last(start, play) -> None:
    episode = start(EpisodeLimits())
    play(team_episode(episode), [LOGIN, *GOOD, COUNT, *GOOD, "FINISH"])
    positions = [
        [m.position for m in conversation.messages if m.role == "assistant"] for conversation in episode.conversations
    ]
    assert positions == [[1, 2, 2], [1, 1], [1], [2, 2], [2]]


def test_roles_see_what_they_should(start, play) -> None:
    episode = start(EpisodeLimits())
    play(team_episode(episode), [LOGIN, *GOOD, COUNT, *GOOD, "FINISH"])
    (lead,) = said(episode, "orchestrator")
    assert all(words in lead[0] for words in ("How many songs", "Ada Lovelace", "spotify"))
    assert lead[1:] == ["RESULT: 1", "RESULT: 1"]
    first, second = said(episode, "executor")
    assert all(words in first[0] for words in ("Log in to spotify.", "Use the password."))
    assert "DONE" not in first[0]
    assert all(words in second[0] for words in ("DONE: 1", "Count the songs."))
    assert second[1] == "OUTPUT:\nPRINT(1)"
    critic = said(episode, "critic")[1]
    assert critic == ["SUBTASK: Count the songs.\n```python\nprint(1)\n```\nOUTPUT:\nPRINT(1)\nRESULT: 1"]


def test_a_rejected_result_goes_back_to_the_executor(start, play) -> None:
    episode = start(EpisodeLimits())
    wrong = Completion("```python\nprint(2)\n```", train=False)
    replies = [LOGIN, wrong, Completion("RESULT: 2", train=False), "REJECT: It is 1.", *GOOD, "FINISH"]
    requests = play(team_episode(episode), replies)
    executor = next(c for c in episode.conversations if c.role == "executor")
    assert [m.train for m in executor.messages if m.role == "assistant"] == [False, False, True, True]
    assert "REJECTED: It is 1." in said(episode, "executor")[0]
    assert episode.sub_tasks[0].accepted
    assert episode.sub_tasks[0].attempts == 2
    assert [r.attempt for r in requests if isinstance(r, PolicyRequest) and r.role == "critic"] == [0, 1]


def test_rejects_are_limited_and_the_orchestrator_is_told(start, play) -> None:
    episode = start(EpisodeLimits(rejects=1))
    bad = [CODE, "RESULT: 2", "REJECT: It is 1."]
    play(team_episode(episode), [LOGIN, *bad, *bad, "FINISH"])
    assert not episode.sub_tasks[0].accepted
    assert said(episode, "orchestrator")[0][-1] == "RESULT: 2 (not accepted: It is 1.)"


def test_turns_of_a_sub_task_are_limited(start, play) -> None:
    episode = start(EpisodeLimits(turns_per_sub_task=2))
    play(team_episode(episode), [LOGIN, CODE, CODE, "GIVE UP"])
    assert episode.end_reason == "gave_up"
    assert not episode.sub_tasks[0].accepted
    assert "not done within 2 turns" in said(episode, "orchestrator")[0][-1]
    assert episode.steps[-1].code == 'apis.supervisor.complete_task(status="fail")'


def test_sub_tasks_are_limited(start, play) -> None:
    episode = start(EpisodeLimits(sub_tasks=1))
    play(team_episode(episode), [LOGIN, *GOOD, COUNT])
    assert episode.end_reason == "limit:sub_tasks"
    assert len(as_trajectory(episode).sub_tasks) == 1


@pytest.mark.parametrize(("code", "accepted"), [("print(1)", True), ("fail", False)])
def test_without_a_critic_the_last_execution_decides(start, play, code: str, accepted: bool) -> None:
    episode = start(EpisodeLimits())
    play(team_episode(episode, critic=False), [LOGIN, f"```python\n{code}\n```", "RESULT: 1", "FINISH"])
    assert episode.sub_tasks[0].accepted is accepted
    assert "critic" not in episode.usage


def test_one_misformatted_reply_is_forgiven_and_not_trained(start, play) -> None:
    episode = start(EpisodeLimits())
    play(team_episode(episode), ["Sure!", LOGIN, CODE, "hm", "RESULT: 1", "perhaps", "ACCEPT", "FINISH"])
    assert episode.end_reason == "completed"
    untrained = [m.content for c in episode.conversations for m in c.messages if not m.train]
    assert untrained == ["Sure!", "hm", "perhaps"]
    as_trajectory(episode)


@pytest.mark.parametrize("replies", [["Sure!", "Sure!"], [LOGIN, "x", "x"], [LOGIN, CODE, "RESULT: 1", "x", "x"]])
def test_a_second_one_ends_the_episode(start, play, replies: list[str]) -> None:
    episode = start(EpisodeLimits())
    play(team_episode(episode), replies)
    assert episode.end_reason == "policy_error"
    as_trajectory(episode)


def test_usage_is_counted_by_role(start, play) -> None:
    episode = start(EpisodeLimits())
    play(team_episode(episode), [LOGIN, *GOOD, "FINISH"])
    assert {role: usage.llm_calls for role, usage in episode.usage.items()} == {
        "orchestrator": 2,
        "executor": 2,
        "critic": 1,
    }
    executor = episode.usage["executor"]
    assert (executor.prompt_tokens, executor.completion_tokens, executor.flops, executor.seconds) == (20, 4, 200.0, 1.0)


def test_an_episode_can_be_cut_off_anywhere(start) -> None:
    episode = start(EpisodeLimits())
    turns = team_episode(episode)
    next(turns)
    turns.send(Completion(LOGIN))
    turns.send(Completion(CODE))
    with pytest.raises(StopIteration):
        turns.throw(EpisodeEnd("env_error", "the worker died"))
    assert (episode.end_reason, episode.detail) == ("env_error", "the worker died")
    as_trajectory(episode)


def test_limits_must_make_sense() -> None:
    with pytest.raises(UserError, match=r"limits\.turns is 0"):
        EpisodeLimits(turns=0)
