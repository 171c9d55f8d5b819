"""The single agent: one conversation that does it all, the baseline that a team is compared with."""

from __future__ import annotations

from collections.abc import Generator

from prost_lightning.agents import prompts
from prost_lightning.agents.episode import Episode, Reply, Request, Turns, task_prompt, tell
from prost_lightning.agents.limits import COMPLETED, GAVE_UP, EpisodeEnd


def single_episode(episode: Episode) -> Generator[Request, Reply, None]:
    """One episode played by one agent, which ends it by calling ``apis.supervisor.complete_task`` itself.

    Args:
        episode: The record to fill; it holds the task and the limits.

    Yields:
        Turns that the agent has to take, and code to execute; send the ``Completion`` or the ``Observation`` back.
    """
    return episode.play(_turns(episode))


def _turns(episode: Episode) -> Turns:
    conversation = episode.open("single", task_prompt(episode.task))
    for turn in range(1, episode.limits.turns + 1):
        # Nobody says where one sub-task ends and the next begins, so the reply is kept without a position.
        code = yield from episode.ask(conversation, prompts.parse_code, position=turn)
        observation = yield from episode.execute(code.source)
        if observation.completed:
            return EpisodeEnd(GAVE_UP if observation.gave_up else COMPLETED)
        tell(conversation, prompts.output_prompt(observation.output, episode.limits.output_chars))
    return EpisodeEnd("limit:turns", f"not done within {episode.limits.turns} turns")
