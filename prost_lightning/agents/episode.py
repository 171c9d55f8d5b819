"""What team and single episodes share: the requests they make, the record they keep, and asking a role for a turn.

An episode is a generator. It yields what it needs (a turn of a role, or an execution on the engine) and is sent the
answer; it never calls a model or an engine itself. So episodes can run side by side with batched turns, and be tested
with scripted answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from prost_lightning.agents import prompts
from prost_lightning.agents.limits import POLICY_ERROR, EpisodeEnd, EpisodeLimits
from prost_lightning.agents.policy import Completion, PolicyRequest
from prost_lightning.appworld.engine import Observation, TaskInfo
from prost_lightning.trajectory import Conversation, Message, Role, Step, SubTask, Usage

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class ExecuteRequest:
    """Code that the engine has to run. ``position`` is the sub-task that it belongs to, where there is one."""

    code: str
    position: int | None = None


Request = PolicyRequest | ExecuteRequest
Reply = Completion | Observation
Turns = Generator[Request, Reply, EpisodeEnd]


@dataclass
class Episode:
    """The record of one episode, complete at any moment, so that an episode may be cut off anywhere.

    Attributes:
        task: What AppWorld says about the task.
        limits: What the episode may use up.
        conversations: In the order in which they were opened.
        sub_tasks: By position; a sub-task is listed from the moment it is handed out.
        steps: Engine executions in order.
        usage: Cost by role.
        end_reason: How it ended; empty while it runs.
        detail: What lies behind that reason.
    """

    task: TaskInfo
    limits: EpisodeLimits
    conversations: list[Conversation] = field(default_factory=list)
    sub_tasks: list[SubTask] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    usage: dict[Role, Usage] = field(default_factory=dict)
    end_reason: str = ""
    detail: str = ""

    def open(self, role: Role, first: str) -> Conversation:
        """Opens a conversation of ``role``, which is told ``first``."""
        conversation = Conversation(role, prompts.open_conversation(role, first))
        self.conversations.append(conversation)
        return conversation

    def ask(
        self,
        conversation: Conversation,
        parse: Callable[[str], Parsed],
        *,
        position: int,
        attempt: int = 0,
        label: int | None = None,
    ) -> Generator[Request, Reply, Parsed]:
        """Asks the conversation's role for its next turn, reminding it of the format where needed.

        Args:
            conversation: Whose turn it is; the reply is added to it.
            parse: Reads a reply; raises ``FormatError`` on one that follows no format.
            position: Sub-task position of the request.
            attempt: Rejected results so far.
            label: Sub-task position under which the reply is kept, where it is known beforehand.

        Returns:
            The parsed reply.

        Raises:
            EpisodeEnd: The replies follow no format.
        """
        reminders = 0
        while True:
            reply = yield PolicyRequest(
                task_id=self.task.task_id,
                role=conversation.role,
                position=position,
                attempt=attempt,
                messages=tuple(conversation.messages),
                max_tokens=self.limits.tokens_per_turn,
            )
            assert isinstance(reply, Completion)
            self._count(conversation.role, reply)
            try:
                parsed = parse(reply.text)
            except prompts.FormatError as error:
                # It works on no sub-task, and nobody shall learn it.
                conversation.messages.append(Message("assistant", reply.text, train=False))
                if reminders == self.limits.format_errors:
                    detail = f"the {conversation.role} follows no format: {reply.text[:200]!r}"
                    raise EpisodeEnd(POLICY_ERROR, detail) from error
                reminders += 1
                tell(conversation, prompts.REMINDER[conversation.role])
            else:
                conversation.messages.append(Message("assistant", reply.text, position=label, train=reply.train))
                return parsed

    def execute(self, code: str, position: int | None = None) -> Generator[Request, Reply, Observation]:
        """Runs code on the engine and records it."""
        observation = yield ExecuteRequest(code, position)
        assert isinstance(observation, Observation)
        self.steps.append(Step(position, code, observation.output, observation.error))
        return observation

    def play(self, turns: Turns) -> Generator[Request, Reply, None]:
        """Plays ``turns`` and records how they end, also when whoever drives the episode throws an ``EpisodeEnd``."""
        try:
            end = yield from turns
        except EpisodeEnd as raised:
            end = raised
        self.end_reason, self.detail = end.reason, end.detail

    def _count(self, role: Role, completion: Completion) -> None:
        self.usage.setdefault(role, Usage()).add(
            Usage(
                llm_calls=1,
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.completion_tokens,
                flops=completion.flops,
                seconds=completion.seconds,
            )
        )


def tell(conversation: Conversation, text: str) -> None:
    """Adds a user message to a conversation."""
    conversation.messages.append(Message("user", text))


def label_last(conversation: Conversation, position: int | None) -> None:
    """Says which sub-task a conversation's last message works on."""
    conversation.messages[-1] = msgspec.structs.replace(conversation.messages[-1], position=position)


def task_prompt(task: TaskInfo) -> str:
    """First user message of the agents that see the whole task."""
    return prompts.task_prompt(
        task.instruction, f"{task.first_name} {task.last_name}", task.datetime[:10], list(task.app_descriptions)
    )
