"""Episodes and trajectories: who said what, on which sub-task, with what outcome.

One schema serves both ends of the data flow. Every episode that runs is written as one :class:`Trajectory` to an
``episodes.jsonl``; the successful ones, whoever played them, are the training data. So a model's own solved episodes
can be trained on without a conversion step.

A *conversation* is the context of one role. The orchestrator's and the single agent's context grows over the whole
episode (one conversation); the executor's restarts with each sub-task, the critic's with each verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from prost_lightning.errors import UserError

Role = Literal["orchestrator", "executor", "critic", "single"]
ROLES: tuple[Role, ...] = get_args(Role)
TEAM_ROLES: tuple[Role, ...] = ("orchestrator", "executor", "critic")

Agents = Literal["team", "single"]

SCHEMA_VERSION = 1


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One message of a conversation.

    Attributes:
        role: The chat role, as chat templates know it. ``assistant`` marks what the conversation's role said.
        content: The text.
        position: For assistant messages: the position 1..n of the sub-task that the message works on. None where it is
            not known (a single agent's model-played episode).
        train: False for an assistant message that must not be imitated (a mistake that was corrected later). It stays
            in the context, but carries no labels.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    position: int | None = None
    train: bool = True


class Conversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything one role saw and said in one context, oldest first."""

    role: Role
    messages: list[Message]


class SubTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One unit of work that the orchestrator handed to the executor.

    Attributes:
        position: Place in the episode, from 1.
        kind: What sort of work it is (``login``, ``search``, ``compute``, ``write``, ...); ``other`` if unknown.
        apps: AppWorld apps that it touches.
        goal: What is to be done.
        plan: How, in short.
        result: What the executor reported in the end.
        accepted: Whether the critic accepted it (without a critic: whether the last execution raised no error).
        attempts: How often the executor reported a result (1 = accepted at once).
    """

    position: int
    kind: str
    apps: list[str]
    goal: str
    plan: str
    result: str = ""
    accepted: bool = False
    attempts: int = 0


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One execution on the engine.

    Attributes:
        position: Sub-task it belongs to; None if unknown or for the final ``complete_task`` call.
        code: The Python that ran.
        output: What came back, truncated.
        error: Whether the engine reported a failed execution.
    """

    position: int | None
    code: str
    output: str
    error: bool


class Usage(msgspec.Struct, forbid_unknown_fields=True):
    """What one role of one episode cost.

    Attributes:
        llm_calls: Model calls.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        flops: Forward floating-point operations (see :mod:`prost_lightning.flops`).
        seconds: Wall seconds inside the model; a batched call's time is shared equally by its requests.
    """

    llm_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0

    def add(self, other: Usage) -> None:
        """Adds another usage to this one, field by field."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class CheckedSubTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether an episode has done a sub-task of its task's reference solution, however it went about it.

    Attributes:
        position: Place in the reference solution, from 1.
        kind: What sort of work it is: ``login``, ``collect``, ``read``, ``compute`` or ``write``.
        apps: The apps that it touches.
        passed: Whether its machine check holds (see :mod:`prost_lightning.appworld.sub_task_checks`).
    """

    position: int
    kind: str
    apps: list[str]
    passed: bool


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an episode ended, as AppWorld's own evaluator judged it.

    Attributes:
        success: All of the evaluator's requirements passed (AppWorld's task goal completion).
        end_reason: ``completed``, ``gave_up``, ``limit:<which>``, ``env_error`` or ``policy_error``.
        detail: What lies behind the reason, for people to read.
        passes: Number of evaluator requirements that passed.
        failures: Evaluator requirements that failed.
        sub_tasks: The reference solution's sub-tasks, in order; empty where the world has none to check.
    """

    success: bool
    end_reason: str
    detail: str = ""
    passes: int = 0
    failures: list[str] = msgspec.field(default_factory=list)
    sub_tasks: list[CheckedSubTask] = msgspec.field(default_factory=list)


class Trajectory(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One finished episode.

    Attributes:
        schema_version: Version of this schema.
        task_id: AppWorld task, as ``82e2fac_1``.
        world: Which data it ran in (``mini`` or ``official``) with its fingerprint, as ``mini:seed7:1a2b3c``.
        split: AppWorld split of the task.
        agents: ``team`` or ``single``.
        policy: Who played (``oracle``, or a model and its adapters).
        seed: Seed of the policy's choices.
        instruction: The task's text.
        template: Scenario template (mini world only).
        difficulty: AppWorld difficulty 1..3.
        sub_tasks: Ordered by position.
        conversations: In the order in which they were opened.
        steps: Engine executions in order.
        outcome: How it ended.
        usage: Cost by role.
        seconds: Wall seconds of the episode.
        metadata: Free fields (experiment name, limits, a teacher's settings, ...).
    """

    schema_version: int = SCHEMA_VERSION
    task_id: str
    world: str
    split: str
    agents: Agents
    policy: str
    seed: int
    instruction: str
    template: str = ""
    difficulty: int = 0
    sub_tasks: list[SubTask]
    conversations: list[Conversation]
    steps: list[Step]
    outcome: Outcome
    usage: dict[Role, Usage] = msgspec.field(default_factory=dict)
    seconds: float = 0.0
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def scenario_id(self) -> str:
        """The scenario: the part of the task id before the underscore."""
        return self.task_id.rpartition("_")[0]

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {self.schema_version}, this code reads version {SCHEMA_VERSION}")
        positions = [sub_task.position for sub_task in self.sub_tasks]
        if positions != list(range(1, len(positions) + 1)):
            raise ValueError(f"sub_tasks must have positions 1..{len(positions)} in order, got {positions}")
        for conversation in self.conversations:
            for message in conversation.messages:
                position = message.position
                if message.role == "assistant" and position is not None and not 1 <= position <= len(positions):
                    raise ValueError(
                        f"a {conversation.role} message has position {position}, outside 1..{len(positions)}"
                    )


_decoder = msgspec.json.Decoder(Trajectory)
_encoder = msgspec.json.Encoder()


def encode(trajectory: Trajectory) -> bytes:
    """Encodes a trajectory as one JSON line, newline included."""
    return _encoder.encode(trajectory) + b"\n"


def iter_trajectories(path: str | Path) -> Iterator[Trajectory]:
    """Reads trajectories from a JSONL file, one line at a time.

    Args:
        path: The file.

    Yields:
        Validated trajectories, in file order.

    Raises:
        UserError: The file is missing, or a line is malformed; the message names ``file:line`` and the path inside the
            line.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such trajectory file; make one with `python -m prost_lightning collect`.")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield decode(line, f"{path}:{number}")


def decode(line: bytes, where: str) -> Trajectory:
    """Decodes one JSON line.

    Args:
        line: The line.
        where: Its place, for people to read.

    Raises:
        UserError: It is malformed; the message names the place and the path inside the line.
    """
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: malformed trajectory: {error}; fix or delete that line.") from error


def read_trajectories(path: str | Path) -> list[Trajectory]:
    """Reads a whole JSONL file; see :func:`iter_trajectories`."""
    return list(iter_trajectories(path))


def append_trajectory(path: str | Path, trajectory: Trajectory) -> None:
    """Appends one trajectory to a JSONL file in a single write: a killed run leaves at most one torn last line."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(encode(trajectory))


def write_trajectories(path: str | Path, trajectories: Iterable[Trajectory]) -> int:
    """Writes a JSONL file atomically (a temporary file beside it, then a rename) and returns the number of lines."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    count = 0
    with temporary.open("wb") as file:
        for trajectory in trajectories:
            file.write(encode(trajectory))
            count += 1
    temporary.replace(path)
    return count
