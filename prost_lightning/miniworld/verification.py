"""Plays every task on the real engine. Imports ``appworld``: for the build's subprocess only."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from appworld import AppWorld
from appworld.collections.models import ModelCollectionPair
from appworld.evaluator import TestTracker

from prost_lightning.miniworld import variants
from prost_lightning.miniworld.engine_speed import keep_what_stays, spare_guard
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.script import Mistake, Script, ScriptStep
from prost_lightning.miniworld.snapshots import Snapshot
from prost_lightning.miniworld.transport import FastRequests

_EXPERIMENT = "build"
_LINE_LIMIT = 80
_BROKEN_OFF = 4
# Of this process, whose worlds are all of one data root.
_REQUESTS = FastRequests()
# What evaluations look up in the databases that a task starts from, which are alike but for the supervisor app's.
_HASHES_AT_START: dict[str, Any] = {
    name: defaultdict(lambda: None) for name in ("_ids_record_hashes", "_ids", "_record_hashes")
}


class VerificationError(RuntimeError):
    """A task does not behave as its script says: a fault of the generator, never of the user."""


class Verified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What only the engine can tell of a task.

    Attributes:
        labels: The content of ``test_data.json``.
        calls: The API calls of the solution, as AppWorld records them.
        script: The script without the mistakes that by chance print the right result.
    """

    labels: list[dict[str, str]]
    calls: list[dict[str, Any]]
    script: Script


def verify(script: Script, apps: Sequence[str], others: Sequence[Person]) -> Verified:
    """Plays a task in every way that its script knows of, in one opened world.

    The solution must print what the script says and pass. Doing nothing, leaving the last item out, reading the first
    page only, doing it with somebody else's accounts and doing something besides must each fail. Mistakes must fail or
    print another result, and leave nothing behind that the solution does not put right.

    Args:
        script: The script of a task of this world.
        apps: Apps that its solution uses.
        others: Other persons who have all apps.

    Raises:
        VerificationError: The task does not behave so.
    """
    keep_what_stays()
    with _WorldInMemory(task_id=script.task_id, experiment_name=_EXPERIMENT) as world:
        spare_guard(world.safety_guard)
        _REQUESTS.serve(world)
        return _Play(world, script, apps).all(others)


def neighbours(email: str, supervisors: Sequence[Person]) -> list[Person]:
    """The persons with whose accounts somebody's task is tried, who comes next first, since those tasks read the same.

    Args:
        email: Of the task's own person.
        supervisors: All who have tasks, in the order in which these are verified.
    """
    place = next(index for index, person in enumerate(supervisors) if person.email == email)
    return [*supervisors[place + 1 :], *supervisors[:place]]


class _WorldInMemory(AppWorld):  # type: ignore[misc]
    """Writes no output to disk, which nobody needs here and which would happen after each of many executions."""

    def _prepare_directories(self) -> None:
        pass

    def _save_state(self, directory: str) -> None:
        pass

    def save_logs(self) -> None:
        pass


class _Failed(Exception):
    """A requirement is not met."""


class _FirstFailure(TestTracker):  # type: ignore[misc]
    """Ends an evaluation at the first requirement that fails."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> bool:
        if exc_type is not None:
            raise _Failed
        return bool(super().__exit__(exc_type, exc_value, traceback))


class _Play:
    def __init__(self, world: Any, script: Script, apps: Sequence[str]) -> None:
        self.world = world
        self.script = script
        self.apps = apps
        self.where = f"{script.task_id} ({script.template})"
        self.judge: Callable[..., None] = world.task.ground_truth.evaluation_module().evaluate
        start = world.task.model_collection
        start.reset_db_home_path()
        self.main_user = start.admin.MainUser.find_one(**world.task.supervisor)
        for name, kept in _HASHES_AT_START.items():
            for key in [key for key in kept if key[0] == "supervisor"]:
                del kept[key]
            setattr(start, name, kept)

    def all(self, others: Sequence[Person]) -> Verified:
        start = Snapshot(self.world.models)
        labels = self._label_requirements()
        start.restore()
        self._must_fail_for_others(start, others)
        if self.script.answer is not None:
            self._must_fail_careless()
            start.restore()
        script, calls = self._play_right()
        self._end(self.script.answer)
        outcome = self._evaluate()
        if not outcome.success:
            raise VerificationError(f"{self.where}: not passed: {json.dumps(outcome.failures)}")
        output = self.world.execute(variants.collateral(self.apps, others[0]))
        if _broke_off(output):
            raise VerificationError(f"{self.where}: the side effect failed: {output}")
        self._must_fail("with collateral damage")
        start.close()
        return Verified(labels, calls, script)

    def _label_requirements(self) -> list[dict[str, str]]:
        self._end(None)
        outcome = self._evaluate()
        if outcome.success:
            raise VerificationError(f"{self.where}: doing nothing passes")
        # Failures first, as AppWorld's own generator orders them.
        labels = [{"requirement": failure["requirement"], "label": "no_op_fail"} for failure in outcome.failures]
        return labels + [{"requirement": passed["requirement"], "label": "no_op_pass"} for passed in outcome.passes]

    def _must_fail_for_others(self, start: Snapshot, others: Sequence[Person]) -> None:
        """Plays the task with other persons' accounts until one play fails that went through to its end.

        A play that breaks off, since that person has nothing of the name that the task mentions, says less; after some
        of them it is enough, for often nobody else has it. A question's answer may by chance be the same.
        """
        failed = 0
        for other in others:
            whole = self._play_as(other)
            passed = self._passes()
            start.restore()
            if passed and self.script.answer is None:
                break
            failed += not passed
            if not passed and (whole or failed == _BROKEN_OFF):
                return
        else:
            if failed:
                return
        raise VerificationError(f"{self.where}: doing it for another person passes")

    def _play_as(self, other: Person) -> bool:
        """Plays the solution with somebody else's accounts, and tells whether it went through to its end."""
        output = ""
        for code in variants.as_somebody_else(self.script, other):
            output = self.world.execute(code)
            # What follows would go on with what the play before has left in the variables.
            if _broke_off(output):
                break
        self._end(None if self.script.answer is None else last_line(output))
        return not _broke_off(output)

    def _must_fail_careless(self) -> None:
        """Answers a question with what the first page of each list says.

        Where that is enough, as where the newest is asked for, with what was known one sub-task before the end.
        """
        codes = [variants.careless(self.script, index) or step.code for index, step in enumerate(self.script.steps)]
        outputs = [self.world.execute(code) for code in codes]
        answer = last_line(outputs[-1])
        if answer == self.script.steps[-1].result:
            answer = self.script.steps[-2].result
        self._end(answer)
        self._must_fail("reading first pages only")

    def _play_right(self) -> tuple[Script, list[dict[str, Any]]]:
        calls: list[dict[str, Any]] = []
        steps: list[ScriptStep] = []
        last_write = variants.last_write(self.script)
        for index, step in enumerate(self.script.steps):
            noticed = [mistake for mistake in step.mistakes if not self._unnoticed(step, mistake)]
            steps.append(msgspec.structs.replace(step, mistakes=noticed))
            if index == last_write:
                self._must_fail_half_done(step)
            before = len(self.world.requester.requests)
            output = self.world.execute(step.code)
            if output.strip() != step.result or len(step.result) > _LINE_LIMIT:
                raise VerificationError(f"{self.where}, step {index + 1}: expected {step.result!r}, got {output!r}")
            made = self.world.requester.requests[before:]
            calls += [{"method": call["method"], "url": call["url"], "data": {}} for call in made]
        return msgspec.structs.replace(self.script, steps=steps), calls

    def _unnoticed(self, step: ScriptStep, mistake: Mistake) -> bool:
        """Plays a mistake; those that are alike in all tasks of a scenario in the first of them only."""
        alike = step.kind == "login" or mistake.kind != "wrong_argument"
        if alike and not self.script.task_id.endswith("_1"):
            return False
        return last_line(self.world.execute(mistake.code)) == step.result

    def _must_fail_half_done(self, step: ScriptStep) -> None:
        present = Snapshot(self.world.models)
        self.world.execute(variants.half_done(step))
        self._end(self.script.answer)
        self._must_fail("leaving the last item out")
        present.restore()
        present.close()

    def _must_fail(self, what: str) -> None:
        if self._passes():
            raise VerificationError(f"{self.where}: {what} passes")

    def _end(self, answer: object) -> None:
        self.world.execute(complete_call(answer))

    def _passes(self) -> bool:
        """Whether the world as it is now passes; the first requirement that fails decides."""
        try:
            return bool(self._evaluate(_FirstFailure).success)
        except _Failed:
            return False

    def _evaluate(self, kind: type[TestTracker] = TestTracker) -> TestTracker:
        """AppWorld's own evaluation of the world as it is now, without its report and without closing the world."""
        task, models = self.world.task, self.world.models
        start = task.model_collection
        pair = ModelCollectionPair(start.to_db_home_path, start, models.to_db_home_path, models)
        models.clear_ids_record_hashes()
        truth = task.ground_truth
        tracker = kind(test_data=None, difficulty=self.script.difficulty)
        try:
            self.judge(
                test=tracker,
                public_data=truth.public_data,
                private_data=truth.private_data,
                main_user=self.main_user,
                models=pair,
                ground_truth_answer=truth.answer,
            )
        finally:
            # An evaluation may leave the apps turned to the databases at the start.
            models.reset_db_home_path()
        return tracker


def _broke_off(output: str) -> bool:
    return output.startswith("Execution failed")


def complete_call(answer: object) -> str:
    """The code that ends a task with an answer."""
    return f'apis.supervisor.complete_task(answer={answer!r}, status="success")'


def last_line(output: str) -> str:
    """The last line of an engine output, without surrounding blanks."""
    lines = output.strip().splitlines()
    return lines[-1].strip() if lines else ""
