"""The team: an orchestrator hands out sub-tasks, an executor does each in Python, a critic judges the results."""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from prost_lightning.agents import prompts
from prost_lightning.agents.episode import Episode, Reply, Request, Turns, label_last, task_prompt, tell
from prost_lightning.agents.limits import COMPLETED, GAVE_UP, POLICY_ERROR, EpisodeEnd
from prost_lightning.trajectory import Step, SubTask


def team_episode(episode: Episode, *, critic: bool = True) -> Generator[Request, Reply, None]:
    """One episode played by a team.

    Args:
        episode: The record to fill; it holds the task and the limits.
        critic: Whether a critic judges results. Without one a result is accepted if the last execution raised no error,
            and nothing is sent back to the executor.

    Yields:
        Turns that a role has to take, and code to execute; send the ``Completion`` or the ``Observation`` back.
    """
    return episode.play(_lead(episode, critic))


def _lead(episode: Episode, critic: bool) -> Turns:
    """The orchestrator's loop."""
    conversation = episode.open("orchestrator", task_prompt(episode.task))
    while True:
        position = len(episode.sub_tasks) + 1
        reply = yield from episode.ask(conversation, prompts.parse_orchestrator, position=position)
        if not isinstance(reply, prompts.HandOut):
            # The last turn belongs to the last sub-task: whoever learns to do that one learns to finish with it.
            label_last(conversation, len(episode.sub_tasks) or None)
            return (yield from _finish(episode, reply))
        if position > episode.limits.sub_tasks:
            raise EpisodeEnd("limit:sub_tasks", f"more than {episode.limits.sub_tasks} sub-tasks handed out")
        label_last(conversation, position)
        sub_task = SubTask(position, reply.kind, list(reply.apps), reply.goal, reply.plan)
        episode.sub_tasks.append(sub_task)
        reason = yield from _work(episode, sub_task, critic)
        done = episode.sub_tasks[-1]
        tell(conversation, prompts.feedback_prompt(done.result or "none", done.accepted, reason))


def _finish(episode: Episode, reply: prompts.Finish | prompts.GiveUp) -> Turns:
    """Hands the answer, or that there is none, to AppWorld. That is the harness's call, not the executor's."""
    gave_up = isinstance(reply, prompts.GiveUp)
    code = prompts.complete_task_code(None if isinstance(reply, prompts.GiveUp) else reply.answer, success=not gave_up)
    observation = yield from episode.execute(code)
    if not observation.completed:
        return EpisodeEnd(POLICY_ERROR, f"the answer was not taken: {observation.output[-200:]}")
    return EpisodeEnd(GAVE_UP if gave_up else COMPLETED)


def _work(episode: Episode, sub_task: SubTask, critic: bool) -> Generator[Request, Reply, str]:
    """The executor's loop over one sub-task.

    Returns:
        Why the sub-task was not accepted; empty if it was.
    """
    limits, position = episode.limits, sub_task.position
    prompt = prompts.sub_task_prompt(episode.task.instruction, sub_task, episode.sub_tasks[:-1])
    conversation = episode.open("executor", prompt)
    last: Step | None = None
    rejects = 0
    for _ in range(limits.turns_per_sub_task):
        reply = yield from episode.ask(
            conversation, prompts.parse_executor, position=position, attempt=rejects, label=position
        )
        if isinstance(reply, prompts.Code):
            observation = yield from episode.execute(reply.source, position)
            last = episode.steps[-1]
            tell(conversation, prompts.output_prompt(observation.output, limits.output_chars))
            continue
        if critic:
            verdict = yield from _judge(episode, sub_task, last, reply.text, rejects)
        elif last is None:
            verdict = prompts.Verdict(False, "no code was run")
        else:
            verdict = prompts.Verdict(not last.error, "the last code failed" if last.error else "")
        episode.sub_tasks[-1] = msgspec.structs.replace(
            sub_task, result=reply.text, accepted=verdict.accepted, attempts=rejects + 1
        )
        if verdict.accepted:
            return ""
        if not critic or rejects == limits.rejects:
            return verdict.reason
        rejects += 1
        tell(conversation, prompts.rejected_prompt(verdict.reason))
    return f"not done within {limits.turns_per_sub_task} turns"


def _judge(
    episode: Episode, sub_task: SubTask, last: Step | None, result: str, rejects: int
) -> Generator[Request, Reply, prompts.Verdict]:
    """The critic's one turn on a reported result."""
    code, output = (last.code, last.output) if last else ("", "")
    prompt = prompts.critic_prompt(sub_task, code, output, result, episode.limits.output_chars)
    conversation = episode.open("critic", prompt)
    position = sub_task.position
    return (
        yield from episode.ask(conversation, prompts.parse_verdict, position=position, attempt=rejects, label=position)
    )
