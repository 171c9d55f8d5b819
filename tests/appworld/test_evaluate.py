from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prost_lightning.appworld.blocking import BlockingPool, BlockingSession
from prost_lightning.appworld.data import load_task_ids
from prost_lightning.appworld.evaluate import (
    Evaluator,
    TaskResult,
    scenario_goal_completion,
    task_goal_completion,
)
from prost_lightning.appworld.export import export_experiment
from prost_lightning.appworld.launcher import Job
from prost_lightning.errors import UserError


def appworld_command(*arguments: str) -> None:
    """Runs AppWorld's own command line."""
    # The interpreter's own exit takes many seconds once appworld is imported, and so does its looking for garbage.
    program = "import gc, os; gc.disable(); from appworld.cli import app; app(standalone_mode=False); os._exit(0)"
    finished = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


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

    (tmp_path / "data").symlink_to(mini_world / "data")
    exported, stateless = export_experiment(output_dir / "experiments/outputs/figures", tmp_path, "dev", "figures_dev")
    assert stateless == 0
    appworld_command("evaluate", "figures_dev", "dev", "--root", str(tmp_path))
    own = json.loads((exported / "evaluations" / "dev.json").read_bytes())
    assert task_goal_completion(results.values()) == own["aggregate"]["task_goal_completion"]
    assert scenario_goal_completion(results.values()) == own["aggregate"]["scenario_goal_completion"]
    for task_id, verdict in own["individual"].items():
        result = results[task_id]
        assert (result.success, result.difficulty) == (verdict["success"], verdict["difficulty"])
        assert result.passes == len(verdict["passes"])
        assert list(result.failures) == [failure["requirement"] for failure in verdict["failures"]]


@pytest.mark.slow
def test_appworlds_leaderboard_takes_exported_episodes(
    mini_world: Path, output_dir: Path, tmp_path: Path, pool: BlockingPool, solve: Callable[[BlockingSession], None]
) -> None:
    (tmp_path / "data").symlink_to(mini_world / "data")
    names = []
    for split in ("test_normal", "test_challenge"):
        task_ids = load_task_ids(mini_world, split)
        for task_id in task_ids:
            with pool.open(task_id, f"evaluate-{split}") as session:
                if task_id.endswith("_1"):
                    solve(session)
                else:
                    session.execute("print('-' * 5000)")
        played = output_dir / "experiments/outputs" / f"evaluate-{split}"
        shutil.rmtree(played / "tasks" / task_ids[1] / "dbs")
        name = f"team_{split}"
        names.append(name)
        exported, stateless = export_experiment(played, tmp_path, split, name)
        assert stateless == 1
        root = ("--root", str(tmp_path))
        appworld_command("evaluate", name, split, *root)
        own = json.loads((exported / "evaluations" / f"{split}.json").read_bytes())
        assert own["aggregate"] == {"task_goal_completion": 33.3, "scenario_goal_completion": 0.0}
        appworld_command("pack", name, split, "ProST", "a team", "SmolLM2", "135M", "https://example.com", *root)
        appworld_command("unpack", name, *root)
    appworld_command("make", *names, "--save", *root)
    entry = json.loads((tmp_path / "experiments/outputs/_leaderboard.json").read_bytes())[0]
    assert entry["test_normal"]["all"]["task_goal_completion"] == 33.3


def test_only_whole_splits_are_exported(mini_world: Path, tmp_path: Path, task_ids: list[str]) -> None:
    (tmp_path / "data").symlink_to(mini_world / "data")
    (tmp_path / "played" / "tasks" / task_ids[0]).mkdir(parents=True)
    with pytest.raises(UserError, match=f"{len(task_ids) - 1} of {len(task_ids)} tasks of dev were not played"):
        export_experiment(tmp_path / "played", tmp_path, "dev", "mine_dev")
    with pytest.raises(UserError, match="lowercase"):
        export_experiment(tmp_path / "played", tmp_path, "dev", "Mine dev")
    (tmp_path / "experiments" / "outputs" / "mine_dev").mkdir(parents=True)
    with pytest.raises(UserError, match="exists already"):
        export_experiment(tmp_path / "played", tmp_path, "dev", "mine_dev")


def test_an_episode_that_left_nothing_has_failed(evaluator: Evaluator, task_ids: list[str]) -> None:
    result = evaluator.evaluate("never-played", task_ids[0])
    assert not result.success
    assert "no state" in result.failures[0]
    unopened = evaluator.never_opened(task_ids[0])
    assert (unopened.success, unopened.difficulty, unopened.sub_tasks) == (False, result.difficulty, result.sub_tasks)
    assert unopened.sub_tasks
    assert not any(item.passed for item in unopened.sub_tasks)
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
