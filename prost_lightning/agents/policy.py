"""The protocol between an episode and whatever answers for its roles (a local model, a teacher, a server)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from prost_lightning.trajectory import Message, Role


@dataclass(frozen=True)
class PolicyRequest:
    """One turn that a role has to take.

    Attributes:
        task_id: The AppWorld task being played.
        role: Who is to speak.
        position: The sub-task being worked on, from 1 (the orchestrator: the sub-task that it is about to hand out;
            ``n + 1`` when all are done). A model never sees it; a teacher and the bookkeeping need it.
        attempt: How many of this role's results were rejected so far within the sub-task (0 at first).
        messages: What the role sees, oldest first, ending with a user message.
        max_tokens: Most tokens that the turn may have.
    """

    task_id: str
    role: Role
    position: int
    attempt: int
    messages: tuple[Message, ...]
    max_tokens: int


@dataclass(frozen=True)
class Completion:
    """The text of one turn and what it cost.

    Attributes:
        text: What the role says, without special tokens.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        seconds: Wall seconds (a batch's time divided by its size).
        flops: Forward floating-point operations.
        train: False when this turn must not be imitated (a teacher's deliberate mistake).
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    train: bool = True


@runtime_checkable
class Policy(Protocol):
    """Answers turns. One object serves all roles and many episodes at once."""

    @property
    def name(self) -> str:
        """How the policy is called in records (``oracle``, a model with its adapters)."""

    def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
        """Answers a batch of turns, of any mix of roles, in the order of the requests."""
