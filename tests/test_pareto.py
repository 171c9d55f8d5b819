from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.errors import UserError
from prost_lightning.pareto import Point, frontier, pareto
from prost_lightning.trajectory import Outcome, Trajectory, Usage, read_trajectories, write_trajectories


def point(tgc: float, flops: float) -> Point:
    return Point("run", "w", "dev", 6, tgc, 0.0, flops)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_the_frontier_is_what_nothing_beats(pairs: list[tuple[int, int]]) -> None:
    marked = frontier([point(tgc, flops) for tgc, flops in pairs])
    best = [(p.tgc, p.flops_per_task) for p in marked if p.on_frontier]
    assert max(pairs, key=lambda pair: (pair[0], -pair[1])) in best
    assert min(pairs, key=lambda pair: (pair[1], -pair[0])) in best
    for tgc, flops in pairs:
        beaten = any(t >= tgc and f <= flops and (t, f) != (tgc, flops) for t, f in pairs)
        assert ((tgc, flops) in best) is not beaten


def fit_run(directory: Path, tgc: float, flops: float, world: str = "mini:seed7:0") -> Path:
    directory.mkdir()
    after = {"tgc": tgc, "sgc": 0.0, "flops": flops, "seed": 0}
    before = {"tgc": 0.0, "sgc": 0.0, "flops": flops / 2, "seed": 0}
    summary = {"world": world, "split": "dev", "tasks": 6, "before": before, "after": after}
    summary |= {"seed": 3, "code_version": "0.1.0+g1", "command": "python -m prost_lightning fit"}
    (directory / "summary.json").write_text(json.dumps(summary))
    return directory


def evaluate_run(directory: Path, tasks: int = 2) -> Path:
    episodes = [
        Trajectory(
            task_id=f"{n:07x}_1",
            world="mini:seed7:0",
            split="dev",
            agents="team",
            policy="p",
            seed=0,
            instruction="",
            sub_tasks=[],
            conversations=[],
            steps=[],
            outcome=Outcome(n % 2 == 1, "completed"),
            usage={"single": Usage(1, 1, 1, 4e12, 1.0)},
        )
        for n in range(tasks)
    ]
    write_trajectories(directory / "episodes.jsonl", episodes)
    return directory


def test_runs_of_both_kinds_become_a_table_and_a_plot(tmp_path: Path) -> None:
    runs = [
        fit_run(tmp_path / "fit", 80.0, 6e12),
        fit_run(tmp_path / "worse", 10.0, 60e12),
        evaluate_run(tmp_path / "ev", tasks=6),
    ]
    points, table, plot = pareto(runs, tmp_path / "out")
    assert [(p.run, p.tgc, p.flops_per_task, p.on_frontier) for p in points] == [
        ("fit (before)", 0.0, 0.5e12, True),
        ("fit", 80.0, 1e12, True),
        ("ev", 50.0, 4e12, False),
        ("worse (before)", 0.0, 5e12, False),
        ("worse", 10.0, 10e12, False),
    ]
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [p.run for p in points]
    assert {row["world"] for row in rows} == {"mini:seed7:0"}
    assert [(row["seed"], row["code_version"]) for row in rows if row["run"] == "fit"] == [("3", "0.1.0+g1")]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_an_unfinished_training_run_is_not_a_result(tmp_path: Path) -> None:
    run = evaluate_run(tmp_path / "ev")
    episodes = read_trajectories(run / "episodes.jsonl")
    for episode in episodes:
        episode.metadata["label"] = "before"
    write_trajectories(run / "episodes.jsonl", episodes)
    with pytest.raises(UserError, match="has not finished"):
        pareto([run], tmp_path / "out")


def test_different_tasks_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"different tasks \(2 tasks of dev .*; 6 tasks of dev"):
        pareto([fit_run(tmp_path / "six", 1.0, 1.0), evaluate_run(tmp_path / "two")], tmp_path / "out")


def test_different_worlds_are_not_compared(tmp_path: Path) -> None:
    runs = [fit_run(tmp_path / "a", 1.0, 1.0), fit_run(tmp_path / "b", 1.0, 1.0, world="official:0.1.0")]
    with pytest.raises(UserError, match="different tasks"):
        pareto(runs, tmp_path / "out")


def test_bad_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither summary"):
        pareto([tmp_path], tmp_path / "out")
    (tmp_path / "summary.json").write_text('{"world": "w"}')
    with pytest.raises(UserError, match="not the summary of a finished run"):
        pareto([tmp_path], tmp_path / "out")
    with pytest.raises(UserError, match="at least one run"):
        pareto([], tmp_path / "out")
