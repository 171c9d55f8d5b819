"""The teacher: plays each task's script on the engine, with look-ups and mistakes that a newcomer would make."""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from prost_lightning.agents import prompts
from prost_lightning.agents.policy import Completion, PolicyRequest
from prost_lightning.appworld.data import load_script
from prost_lightning.errors import UserError
from prost_lightning.miniworld.script import Mistake, Script, ScriptStep
from prost_lightning.trajectory import Message, SubTask, Trajectory

_RESULT_CHARS = 80
_UNKNOWN_FAULT = "The result is not what the sub-task asks for."

Choice = TypeVar("Choice")


class OraclePolicy:
    """Plays every role from the world's scripts; only generated worlds have them.

    It keeps no state between turns: what it says follows from the request and from choices that are a hash of seed,
    task and sub-task. Mistakes are real ones on the real engine; their turns are marked ``train=False``, and the
    critic, which sees only what a critic sees, rejects them with the script's reason.

    Args:
        root: World root.
        seed: Seed of the wordings, look-ups and mistakes.
        mistake_rate: Share of sub-tasks that are first done wrong, 0 to 1.
        lookup_rate: Share of sub-tasks that start with reading an API document, 0 to 1.
        vary_wording: Whether each task's goals and plans are worded anew. If false, the seed alone chooses among the
            wordings: easier to learn from few trajectories.
    """

    def __init__(
        self,
        root: Path,
        seed: int = 0,
        mistake_rate: float = 0.15,
        lookup_rate: float = 0.2,
        vary_wording: bool = True,
    ) -> None:
        for key, rate in (("mistake_rate", mistake_rate), ("lookup_rate", lookup_rate)):
            if not 0 <= rate <= 1:
                raise UserError(f"{key} is {rate}; set it to a share between 0 and 1.")
        self.root = Path(root)
        self.seed = seed
        self.mistake_rate = mistake_rate
        self.lookup_rate = lookup_rate
        self.vary_wording = vary_wording
        self._script = lru_cache(maxsize=None)(self._load)

    @property
    def name(self) -> str:
        """How the policy is called in records."""
        return "oracle"

    @property
    def settings(self) -> dict[str, Any]:
        """What its choices follow from besides the seed, for the record."""
        return {
            "mistake_rate": self.mistake_rate,
            "lookup_rate": self.lookup_rate,
            "vary_wording": self.vary_wording,
        }

    def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
        """Answers each turn from its task's script, at no cost."""
        return [self._answer(request) for request in requests]

    def with_seed(self, seed: int) -> OraclePolicy:
        """The same teacher with other choices."""
        other = copy.copy(self)
        other.seed = seed
        return other

    def annotate(self, trajectory: Trajectory) -> Trajectory:
        """Adds to a single agent's episode what the script knows: its sub-tasks, and which turn works on which.

        Args:
            trajectory: An episode that this policy played. A team's is returned as it is, since a team says it itself.
        """
        if trajectory.agents != "single":
            return trajectory
        turns = self._single_turns(trajectory.task_id)
        steps = self._script(trajectory.task_id).steps
        (conversation,) = trajectory.conversations
        positions = iter(position for position, _ in turns)
        messages = [
            msgspec.structs.replace(message, position=next(positions)) if message.role == "assistant" else message
            for message in conversation.messages
        ]
        return msgspec.structs.replace(
            trajectory,
            sub_tasks=[
                SubTask(position, step.kind, step.apps, step.goals[0], step.plans[0], step.result, True, 1)
                for position, step in enumerate(steps, start=1)
            ],
            conversations=[msgspec.structs.replace(conversation, messages=messages)],
        )

    def _load(self, task_id: str) -> Script:
        return load_script(self.root, task_id)

    def _answer(self, request: PolicyRequest) -> Completion:
        if request.role == "orchestrator":
            return self._lead(request)
        if request.role == "executor":
            return self._execute(request)
        if request.role == "critic":
            return self._judge(request)
        turns = self._single_turns(request.task_id)
        return turns[min(sum(message.role == "assistant" for message in request.messages), len(turns) - 1)][1]

    def _lead(self, request: PolicyRequest) -> Completion:
        script = self._script(request.task_id)
        if request.position > len(script.steps):
            return Completion(prompts.render_finish(script.answer))
        step = script.steps[request.position - 1]
        chance = (
            self._chance(request.task_id, request.position, "wording")
            if self.vary_wording
            else random.Random(f"{self.seed}/wording")
        )
        hand_out = prompts.HandOut(step.kind, tuple(step.apps), chance.choice(step.goals), chance.choice(step.plans))
        return Completion(prompts.render_hand_out(hand_out))

    def _execute(self, request: PolicyRequest) -> Completion:
        step = self._script(request.task_id).steps[request.position - 1]
        lookup, mistake = self._deviations(request.task_id, request.position, step)
        said = [message.content for message in request.messages if message.role == "assistant"]
        last_code = prompts.find_code(said[-1]) if said else None
        if last_code is None:
            # The sub-task's first turn, or the critic has sent it back.
            if not said and lookup is not None:
                return Completion(prompts.render_code(lookup))
            return _code_turn(step, mistake if request.attempt == 0 else None)
        if last_code.source == lookup and len(said) == 1:
            return _code_turn(step, mistake)
        is_mistake = mistake is not None and last_code.source == mistake.code.strip()
        return Completion(prompts.render_result(_last_line(request.messages[-1])), train=not is_mistake)

    def _judge(self, request: PolicyRequest) -> Completion:
        step = self._script(request.task_id).steps[request.position - 1]
        shown = request.messages[-1].content
        code = prompts.find_code(shown)
        reported = shown.rpartition("\nRESULT: ")[2]
        reasons = [mistake.reason for mistake in step.mistakes if code and code.source == mistake.code.strip()]
        if not reasons and reported == step.result:
            return Completion(prompts.render_verdict(prompts.Verdict(True)))
        return Completion(prompts.render_verdict(prompts.Verdict(False, (reasons or [_UNKNOWN_FAULT])[0])))

    def _single_turns(self, task_id: str) -> list[tuple[int, Completion]]:
        """All turns of a single agent, each with its sub-task position.

        Nobody tells it of a silent mistake, so it makes only those that raise an error, and corrects them itself.
        """
        script = self._script(task_id)
        turns = []
        for position, step in enumerate(script.steps, start=1):
            lookup, mistake = self._deviations(task_id, position, step)
            if lookup is not None:
                turns.append((position, Completion(prompts.render_code(lookup))))
            if mistake is not None and mistake.kind in ("missing_login", "wrong_api"):
                turns.append((position, _code_turn(step, mistake)))
            turns.append((position, _code_turn(step, None)))
        answer = Completion(prompts.render_code(prompts.complete_task_code(script.answer)))
        return [*turns, (len(script.steps), answer)]

    def _deviations(self, task_id: str, position: int, step: ScriptStep) -> tuple[str | None, Mistake | None]:
        """The look-up code and the mistake, if any, that a sub-task is played with."""
        lookup = self._pick(self._chance(task_id, position, "lookup"), self.lookup_rate, step.lookups)
        mistake = self._pick(self._chance(task_id, position, "mistake"), self.mistake_rate, step.mistakes)
        return (None if lookup is None else _lookup_code(*lookup)), mistake

    @staticmethod
    def _pick(chance: random.Random, rate: float, options: Sequence[Choice]) -> Choice | None:
        return chance.choice(options) if chance.random() < rate and options else None

    def _chance(self, task_id: str, position: int, purpose: str) -> random.Random:
        key = f"{self.seed}/{task_id}/{position}/{purpose}"
        return random.Random(hashlib.sha256(key.encode()).digest())


def _code_turn(step: ScriptStep, mistake: Mistake | None) -> Completion:
    return Completion(prompts.render_code(mistake.code if mistake else step.code), train=mistake is None)


def _lookup_code(app: str, api: str) -> str:
    """Reads which parameters an API takes. A whole document is some 150 tokens, of which these are what is needed."""
    return (
        f'doc = apis.api_docs.show_api_doc(app_name="{app}", api_name="{api}")\n'
        'print([item["name"] for item in doc["parameters"]])'
    )


def _last_line(message: Message) -> str:
    lines = message.content.splitlines()
    return lines[-1].strip()[:_RESULT_CHARS] or "nothing"
