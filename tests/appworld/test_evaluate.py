from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prost_lightning.appworld.blocking import BlockingPool, BlockingSession
from prost_lightning.appworld.evaluate import (
    Evaluator,
    TaskResult,
    scenario_goal_completion,
    task_goal_completion,
)
from prost_lightning.appworld.launcher import Job
from prost_lightning.errors import UserError


def test_figures_equal_appworlds_own(
    mini_world: Path,
    output_dir: Path,
    tmp_path: Path,
    pool: BlockingPool,
    evaluator: Evaluator,
    task_ids: list[str],
    solve: Callable[[BlockingSession], None],
) -> None:
    scenarios = sorted({task_id.split("_")[0] for task_id in task_ids})
    # One scenario solved, one solved but for a task, the others left alone.
    solved = {f"{scenarios[0]}_{number}" for number in (1, 2, 3)} | {f"{scenarios[1]}_{number}" for number in (1, 3)}

    def play(task_id: str) -> TaskResult:
        with pool.open(task_id, "figures") as session:
            if task_id in solved:
                solve(session)
        return evaluator.evaluate("figures", task_id)

    with ThreadPoolExecutor(2) as threads:
        results = {result.task_id: result for result in threads.map(play, task_ids)}
    assert {task_id for task_id, result in results.items() if result.success} == solved

    for name, target in (("data", mini_world), ("experiments", output_dir)):
        (tmp_path / name).symlink_to(target / name)
    # The interpreter's own exit takes many seconds once appworld is imported.
    program = "import os; from appworld.cli import app; app(standalone_mode=False); os._exit(0)"
    command = [sys.executable, "-c", program, "evaluate", "figures", "dev", "--root", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    own = json.loads((output_dir / "experiments/outputs/figures/evaluations/dev.json").read_bytes())
    assert task_goal_completion(results.values()) == own["aggregate"]["task_goal_completion"]
    assert scenario_goal_completion(results.values()) == own["aggregate"]["scenario_goal_completion"]
    for task_id, verdict in own["individual"].items():
        result = results[task_id]
        assert (result.success, result.difficulty) == (verdict["success"], verdict["difficulty"])
        assert result.passes == len(verdict["passes"])
        assert list(result.failures) == [failure["requirement"] for failure in verdict["failures"]]


def test_an_episode_that_left_nothing_has_failed(evaluator: Evaluator, task_ids: list[str]) -> None:
    result = evaluator.evaluate("never-played", task_ids[0])
    assert not result.success
    assert "no state" in result.failures[0]
    with pytest.raises(UserError, match="no task"):
        evaluator.evaluate("never-played", "nothing_1")


def test_an_evaluator_that_dies_meanwhile_judges_again(
    evaluator: Evaluator, task_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = evaluator._launcher
    evaluator.evaluate("never-played", task_ids[0])
    submit, killed = launcher.submit, []

    def kill_after_the_first(job: dict[str, Any]) -> Job:
        if killed:
            return submit(job)
        killed.append(launcher.process_id)
        os.kill(launcher.process_id, signal.SIGSTOP)
        running = submit(job)
        os.kill(launcher.process_id, signal.SIGKILL)
        return running

    monkeypatch.setattr(launcher, "submit", kill_after_the_first)
    assert "no state" in evaluator.evaluate("never-played", task_ids[0]).failures[0]
    assert launcher.process_id not in killed


def test_a_forged_state_is_not_replayed(
    pool: BlockingPool, evaluator: Evaluator, task_ids: list[str], output_dir: Path, tmp_path: Path
) -> None:
    with pool.open(task_ids[0], "forged"):
        pass
    state = output_dir / "experiments/outputs/forged/tasks" / task_ids[0] / "dbs/spotify.jsonl"
    state.write_text(json.dumps([f"ATTACH DATABASE '{tmp_path}/made.db' AS made", [], False]) + "\n")
    assert "not a change of data" in evaluator.evaluate("forged", task_ids[0]).failures[0]
    state.write_text("[" * 100_000)
    assert not evaluator.evaluate("forged", task_ids[0]).success
    assert not (tmp_path / "made.db").exists()


def _result(task_id: str, *, success: bool) -> TaskResult:
    return TaskResult(task_id, success, 0, (), 1)


def test_a_scenario_counts_only_if_all_its_tasks_succeed() -> None:
    results = [_result(f"a_{n}", success=True) for n in (1, 2, 3)]
    results += [_result(f"b_{n}", success=n < 3) for n in (1, 2, 3)]
    results.append(_result("c_1", success=False))
    assert task_goal_completion(results) == 71.4
    assert scenario_goal_completion(results) == 33.3
    assert task_goal_completion([]) == scenario_goal_completion([]) == 0.0
