from __future__ import annotations

from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.agents.single import single_episode

CODE = "```python\nprint(1)\n```"


def test_it_ends_with_its_own_complete_task(start, play) -> None:
    episode = start(EpisodeLimits())
    play(single_episode(episode), [CODE, "```python\napis.supervisor.complete_task(answer=3)\n```"])
    assert episode.end_reason == "completed"
    (conversation,) = episode.conversations
    assert [m.role for m in conversation.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert conversation.messages[3].content == "OUTPUT:\nPRINT(1)"
    assert [m.position for m in conversation.messages] == [None] * 5
    assert episode.usage["single"].llm_calls == 2


def test_giving_up_is_not_completing(start, play) -> None:
    episode = start(EpisodeLimits())
    play(single_episode(episode), ['```python\napis.supervisor.complete_task(status="fail")\n```'])
    assert episode.end_reason == "gave_up"


def test_turns_are_limited(start, play) -> None:
    episode = start(EpisodeLimits(turns=2))
    play(single_episode(episode), [CODE, CODE])
    assert episode.end_reason == "limit:turns"


def test_replies_without_code_end_it(start, play) -> None:
    episode = start(EpisodeLimits(format_errors=2))
    play(single_episode(episode), ["a", "b", "c"])
    assert episode.end_reason == "policy_error"
