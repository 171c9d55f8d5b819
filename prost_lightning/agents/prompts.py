"""All text that the roles see and say: system prompts, rendering of what they are told, parsing of what they reply.

The formats are short on purpose: a small model has to learn them from few tokens, and every token is paid for again in
each later turn. The prompts are ours (of ProST's only the abstract is known). Whoever changes a text that a model sees
changes :data:`PROMPT_VERSION` too, since it is recorded with each episode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from prost_lightning.trajectory import Message, Role, SubTask

PROMPT_VERSION = "1"

Answer = str | int | float | None

SYSTEM: dict[Role, str] = {
    "orchestrator": "You lead. Reply 'SUBTASK (kind; apps): goal' and a line 'PLAN: plan', "
    "or 'FINISH: answer', or 'GIVE UP'.",
    "executor": "You write Python that calls apis.<app>.<api>(). Reply one ```python block, "
    "or 'RESULT: result' when done.",
    "critic": "You check a sub-task's result. Reply 'ACCEPT' or 'REJECT: reason'.",
    "single": "You write Python that calls apis.<app>.<api>(). Reply one ```python block a turn. "
    "End with apis.supervisor.complete_task(answer=...).",
}

REMINDER: dict[Role, str] = {role: f"Wrong format. {text}" for role, text in SYSTEM.items()}


class FormatError(ValueError):
    """A reply that follows none of its role's formats."""


@dataclass(frozen=True)
class HandOut:
    """The orchestrator hands out a sub-task."""

    kind: str
    apps: tuple[str, ...]
    goal: str
    plan: str


@dataclass(frozen=True)
class Finish:
    """The orchestrator is done; ``answer`` is None where the task asks for none."""

    answer: Answer


@dataclass(frozen=True)
class GiveUp:
    """The orchestrator sees no way to do the task."""


OrchestratorReply = HandOut | Finish | GiveUp


@dataclass(frozen=True)
class Code:
    """Python to execute."""

    source: str


@dataclass(frozen=True)
class Result:
    """The executor reports what came out of its sub-task, in one line."""

    text: str


ExecutorReply = Code | Result


@dataclass(frozen=True)
class Verdict:
    """The critic accepts, or rejects for a reason."""

    accepted: bool
    reason: str = ""


# --- what agents are told ---------------------------------------------------------------------------------------------


def open_conversation(role: Role, first: str) -> list[Message]:
    """The two messages that every conversation starts with: the role's system prompt, and what it is told first."""
    return [Message("system", SYSTEM[role]), Message("user", first)]


def task_prompt(instruction: str, supervisor: str, date: str, apps: Sequence[str]) -> str:
    """First user message of the orchestrator and of the single agent.

    Args:
        instruction: The task.
        supervisor: Name of the person whose task it is.
        date: Today in the world, as ``2023-05-18``.
        apps: Names of the apps at hand.
    """
    return f"TASK: {instruction}\nUSER: {supervisor}. DATE: {date}. APPS: {', '.join(apps)}"


def sub_task_prompt(instruction: str, sub_task: SubTask, earlier: Sequence[SubTask]) -> str:
    """First user message of the executor.

    Args:
        instruction: The whole task, since it holds the parameters.
        sub_task: What is to be done now.
        earlier: Sub-tasks before it; Python variables live on, so their results are all that has to be said.
    """
    done = "".join(f"DONE: {item.result}\n" for item in earlier if item.accepted)
    return f"TASK: {instruction}\n{done}SUBTASK: {sub_task.goal}\nPLAN: {sub_task.plan}"


def output_prompt(output: str, limit: int) -> str:
    """What an agent is told after an execution."""
    return f"OUTPUT:\n{shorten(output, limit)}"


def critic_prompt(sub_task: SubTask, code: str, output: str, result: str, limit: int) -> str:
    """Only user message of the critic: the sub-task, the last code, what it printed, and what the executor reports."""
    ran = f"{render_code(code)}\n{output_prompt(output, limit)}" if code else "No code was run."
    return f"SUBTASK: {sub_task.goal}\n{ran}\nRESULT: {result}"


def rejected_prompt(reason: str) -> str:
    """What the executor is told when the critic rejects."""
    return f"REJECTED: {reason}"


def feedback_prompt(result: str, accepted: bool, reason: str) -> str:
    """What the orchestrator is told about the sub-task that it handed out."""
    return f"RESULT: {result}" if accepted else f"RESULT: {result} (not accepted: {reason})"


def shorten(output: str, limit: int) -> str:
    """Cuts an execution's output to ``limit`` characters and drops a traceback's lines of carets.

    A traceback is kept at its end, where the error stands; any other output at its beginning.
    """
    lines = [line.rstrip() for line in output.strip().splitlines()]
    text = "\n".join(line for line in lines if not line or line.strip("^~ "))
    if len(text) <= limit:
        return text
    if text.startswith("Execution failed"):
        return "..." + text[len(text) - limit :]
    return text[:limit] + "..."


# --- what agents say --------------------------------------------------------------------------------------------------


def render_hand_out(hand_out: HandOut) -> str:
    """The orchestrator's reply that hands out a sub-task."""
    return f"SUBTASK ({hand_out.kind}; {', '.join(hand_out.apps)}): {hand_out.goal}\nPLAN: {hand_out.plan}"


def render_finish(answer: Answer) -> str:
    """The orchestrator's last reply. A string that would be read back as something else is quoted as JSON."""
    if answer is None:
        return "FINISH"
    plain = f"FINISH: {answer}"
    if isinstance(answer, str) and _FINISH.fullmatch(plain) and parse_orchestrator(plain) == Finish(answer):
        return plain
    return f"FINISH: {msgspec.json.encode(answer).decode()}"


def render_code(source: str) -> str:
    """A reply that executes Python."""
    return f"```python\n{source.strip()}\n```"


def render_result(text: str) -> str:
    """The executor's reply that ends its sub-task."""
    return f"RESULT: {text}"


def render_verdict(verdict: Verdict) -> str:
    """The critic's reply."""
    return "ACCEPT" if verdict.accepted else f"REJECT: {verdict.reason}"


_HAND_OUT = re.compile(r"^SUBTASK \(([^;()\n]*);([^()\n]*)\): *(\S[^\n]*)\nPLAN: *(\S[^\n]*)", re.MULTILINE)
_FINISH = re.compile(r"^FINISH(?:: *([^\n]*))?$", re.MULTILINE)
_GIVE_UP = re.compile(r"^GIVE UP\b", re.MULTILINE)
_CODE = re.compile(r"^```(?:python|py)?[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_RESULT = re.compile(r"^RESULT: *(\S[^\n]*)", re.MULTILINE)
_VERDICT = re.compile(r"^(ACCEPT|REJECT)\b:? *([^\n]*)", re.MULTILINE)


def parse_orchestrator(text: str) -> OrchestratorReply:
    """Reads an orchestrator's reply; the earliest form in the text counts.

    Raises:
        FormatError: It follows no format.
    """
    matches = [match for form in (_HAND_OUT, _FINISH, _GIVE_UP) if (match := form.search(text))]
    if not matches:
        raise FormatError(text)
    match = min(matches, key=lambda item: item.start())
    if match.re is _FINISH:
        return Finish(_parse_answer((match[1] or "").strip()))
    if match.re is _GIVE_UP:
        return GiveUp()
    apps = tuple(app for part in match[2].split(",") if (app := part.strip()))
    return HandOut(match[1].strip() or "other", apps, match[3].strip(), match[4].strip())


def parse_executor(text: str) -> ExecutorReply:
    """Reads an executor's reply; the first code block counts, before any RESULT.

    Raises:
        FormatError: It follows no format.
    """
    code = find_code(text)
    if code is not None:
        return code
    result = _RESULT.search(text)
    if result is None:
        raise FormatError(text)
    return Result(result[1].strip())


def parse_code(text: str) -> Code:
    """Reads a single agent's reply.

    Raises:
        FormatError: It holds no code block.
    """
    code = find_code(text)
    if code is None:
        raise FormatError(text)
    return code


def find_code(text: str) -> Code | None:
    """The first closed code block of a text (one that the token limit cut off is not run); None if there is none."""
    match = _CODE.search(text)
    return Code(match[1].strip()) if match and match[1].strip() else None


def parse_verdict(text: str) -> Verdict:
    """Reads a critic's reply.

    Raises:
        FormatError: It follows no format.
    """
    match = _VERDICT.search(text)
    if match is None:
        raise FormatError(text)
    return Verdict(True) if match[1] == "ACCEPT" else Verdict(False, match[2].strip() or "no reason given")


def complete_task_code(answer: Answer = None, *, success: bool = True) -> str:
    """The call that hands an episode's answer to AppWorld."""
    argument = "" if answer is None else f"answer={answer!r}, "
    return f'apis.supervisor.complete_task({argument}status="{"success" if success else "fail"}")'


def _parse_answer(text: str) -> Answer:
    """A JSON number or quoted string is decoded; everything else is the text itself; no text is no answer."""
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text or None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number or isinstance(value, str) else text
