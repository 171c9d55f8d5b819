"""Judging finished episodes with AppWorld's own evaluator, in a process that no model's code has touched."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from prost_lightning.appworld.channel import Channel, ChannelClosedError
from prost_lightning.appworld.engine import EngineLimits
from prost_lightning.appworld.launcher import Launcher, WorkerStartError
from prost_lightning.appworld.sub_task_checks import none_done
from prost_lightning.errors import UserError
from prost_lightning.trajectory import CheckedSubTask

#: AppWorld needs about 0.05 s. What an episode saved comes from a model's code, so even reading it is bounded.
_LIMITS = EngineLimits(episode_seconds=120.0)
_ATTEMPTS = 3


@dataclass(frozen=True)
class TaskResult:
    """How one episode was judged.

    Attributes:
        task_id: As ``82e2fac_1``.
        success: Whether all of the task's requirements passed.
        passes: Number of requirements that passed.
        failures: Requirements that failed; for an episode that could not be judged, why.
        difficulty: The task's difficulty, 1 to 3.
        sub_tasks: Which sub-tasks of the reference solution were done; empty where the world has none to check.
    """

    task_id: str
    success: bool
    passes: int
    failures: tuple[str, ...]
    difficulty: int
    sub_tasks: tuple[CheckedSubTask, ...] = ()


class Evaluator:
    """Judges saved episodes. Thread-safe.

    Args:
        root: World root, the directory that has ``data/``, ground truth included.
        output_dir: The ``output_dir`` of the :class:`~prost_lightning.appworld.pool.AppWorldPool` that ran them; the
            log is ``evaluator.log`` there.

    Raises:
        UserError: There is no world at ``root``.
    """

    def __init__(self, root: Path, output_dir: Path) -> None:
        self._root = Path(root)
        self._launcher = Launcher(root, output_dir, name="evaluator", with_ground_truth=True)

    def evaluate(self, experiment: str, task_id: str) -> TaskResult:
        """Judges one episode, which must have ended.

        Args:
            experiment: Name under which it was saved.
            task_id: As ``82e2fac_1``.

        Returns:
            The verdict. An episode that left nothing that can be judged has failed, and says why.

        Raises:
            UserError: The world has no such task or no ground truth for it, or the evaluator has never come up.
            WorkerStartError: The evaluator's process died and does not come up again.
        """
        self._launcher.check_task(task_id)
        difficulty = self._difficulty(task_id)
        answer = self._ask(experiment, task_id)
        if "failed" in answer:
            return self._failed(task_id, difficulty, f"not judged: {answer['detail']}")
        return TaskResult(
            task_id=task_id,
            success=answer["success"],
            passes=answer["passes"],
            failures=tuple(answer["failures"]),
            difficulty=difficulty,
            sub_tasks=msgspec.convert(answer["sub_tasks"], tuple[CheckedSubTask, ...]),
        )

    def never_opened(self, task_id: str) -> TaskResult:
        """The verdict on an episode whose world no engine could open: nothing is done.

        Args:
            task_id: As ``82e2fac_1``.

        Raises:
            UserError: The world has no ground truth for the task.
        """
        return self._failed(task_id, self._difficulty(task_id), "not judged: the task's world was never open")

    def _failed(self, task_id: str, difficulty: int, reason: str) -> TaskResult:
        return TaskResult(task_id, False, 0, (reason,), difficulty, tuple(none_done(self._root, task_id)))

    def close(self) -> None:
        """Ends the evaluator's process."""
        self._launcher.close()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, experiment: str, task_id: str) -> dict[str, Any]:
        """Has an episode judged; again if the process died meanwhile, since judging changes nothing."""
        job = {
            "kind": "evaluate",
            "task_id": task_id,
            "experiment": experiment,
            "output": str(self._launcher.episode_directory(experiment, task_id)),
            "root": str(self._root.resolve()),
            "limits": dataclasses.asdict(_LIMITS),
        }
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = self._judge(job)
                if answer.get("lost") is not True or attempt == _ATTEMPTS:
                    return answer
            except (TimeoutError, ValueError) as error:
                failure: Exception = error
                break
            except ChannelClosedError as error:
                failure = error
            except WorkerStartError:
                if attempt == _ATTEMPTS:
                    raise
        return {"failed": "env_error", "detail": f"the evaluator's process failed: {failure}"}

    def _judge(self, job: dict[str, Any]) -> dict[str, Any]:
        running = self._launcher.submit(job)
        channel = Channel(running.connection)
        try:
            return channel.receive(_LIMITS.episode_seconds)
        finally:
            self._launcher.end(running)
            channel.close()

    def _difficulty(self, task_id: str) -> int:
        path = self._root / "data" / "tasks" / task_id / "ground_truth" / "metadata.json"
        try:
            return int(json.loads(path.read_bytes())["difficulty"])
        except FileNotFoundError as error:
            raise UserError(
                f"{path}: no ground truth for this task, so nothing can be evaluated; choose another split."
            ) from error


def task_goal_completion(results: Iterable[TaskResult]) -> float:
    """Share of tasks that succeeded, in percent, rounded as AppWorld does.

    Args:
        results: One result a task.

    Returns:
        0 to 100; 0 without results.
    """
    return _percentage([float(result.success) for result in results])


def scenario_goal_completion(results: Iterable[TaskResult]) -> float:
    """Share of scenarios whose tasks all succeeded, in percent, rounded as AppWorld does.

    Args:
        results: One result a task; a scenario's tasks are those whose ids agree before the underscore.

    Returns:
        0 to 100; 0 without results.
    """
    scenarios: dict[str, list[float]] = defaultdict(list)
    for result in results:
        scenarios[result.task_id.rpartition("_")[0]].append(float(result.success))
    return _percentage([min(scores) for scores in scenarios.values()])


def _percentage(scores: list[float]) -> float:
    # AppWorld rounds twice; a figure must not differ from its own in the last digit.
    return round(100 * round(sum(scores) / len(scores), 4), 1) if scores else 0.0
