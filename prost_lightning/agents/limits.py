"""What an episode may use up, and the names of the ways in which it can end."""

from __future__ import annotations

from dataclasses import dataclass, fields

from prost_lightning.errors import UserError

COMPLETED = "completed"
GAVE_UP = "gave_up"
ENV_ERROR = "env_error"
POLICY_ERROR = "policy_error"


@dataclass(frozen=True)
class EpisodeLimits:
    """Limits of one episode. Reaching one ends it with the reason ``limit:<name of the limit>``, save where noted.

    Attributes:
        sub_tasks: Most sub-tasks that the orchestrator may hand out.
        turns_per_sub_task: Most executor turns in one sub-task. Reaching it ends the sub-task only: the orchestrator is
            told that it was not accepted.
        rejects: How often the critic may send one sub-task back to the executor. One more ends the sub-task only.
        turns: Most turns of a single agent.
        tokens_per_turn: Most tokens that one turn may have.
        format_errors: Unparsable replies that are forgiven, with a reminder, before one turn is taken; one more ends
            the episode as ``policy_error``.
        output_chars: Most characters of an execution's output that an agent is shown. The engine keeps as many.
        seconds: Wall seconds. Episodes run side by side and wait for each other's turns, which counts too. The engine
            gives an episode at least as many.
    """

    sub_tasks: int = 12
    turns_per_sub_task: int = 6
    rejects: int = 2
    turns: int = 24
    tokens_per_turn: int = 160
    format_errors: int = 1
    output_chars: int = 800
    seconds: float = 600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 0 if field.name in ("rejects", "format_errors") else 1
            value = getattr(self, field.name)
            if value < least:
                raise UserError(f"limits.{field.name} is {value}; set it to {least} or more.")


DEFAULT_LIMITS = EpisodeLimits()


class EpisodeEnd(Exception):
    """Ends an episode from wherever it is.

    Args:
        reason: One of this module's constants, or ``limit:<which>``.
        detail: What lies behind it, for people to read.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
