"""Effectiveness against cost over many runs: points, their Pareto frontier, a plot and a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from prost_lightning.errors import UserError
from prost_lightning.report import summarise
from prost_lightning.trajectory import read_trajectories

SUMMARY_FILE = "summary.json"
_FIGURES = ("tgc", "sgc", "flops")
_SOURCE = ("policy", "allocation", "seed", "code_version", "command")


@dataclass(frozen=True)
class Point:
    """One run's result.

    Attributes:
        run: Name of the run's directory, with ``(before)`` for the model before training.
        world: World that it was measured in.
        split: Split that it was measured on.
        tasks: Number of tasks.
        tgc: Task goal completion in percent.
        sgc: Scenario goal completion in percent.
        flops_per_task: Forward floating-point operations an episode.
        on_frontier: No other point completes more at no more cost, or as much at less.
        policy: Who played.
        allocation: Size of the model of each role, as ``135M-135M-135M``.
        seed: Seed of the run.
        code_version: Version of this code that measured it.
        command: Command that measured it.
    """

    run: str
    world: str
    split: str
    tasks: int
    tgc: float
    sgc: float
    flops_per_task: float
    on_frontier: bool = False
    policy: str = ""
    allocation: str = ""
    seed: int | None = None
    code_version: str = ""
    command: str = ""


def frontier(points: Sequence[Point]) -> list[Point]:
    """Marks the points that no other point beats (cheaper and at least as good, or as cheap and better)."""

    def beaten(point: Point) -> bool:
        return any(
            other.flops_per_task <= point.flops_per_task
            and other.tgc >= point.tgc
            and (other.flops_per_task, other.tgc) != (point.flops_per_task, point.tgc)
            for other in points
        )

    return [replace(point, on_frontier=not beaten(point)) for point in points]


def read_run(run: Path) -> list[Point]:
    """Reads a run's results: ``summary.json`` if it is there, else an evaluation's ``episodes.jsonl``.

    Args:
        run: A directory that ``fit`` or ``evaluate`` wrote.

    Returns:
        One point; for a training run also one of the model before training, named ``<run> (before)``.

    Raises:
        UserError: The directory holds neither file or an unreadable one, or training has not finished.
    """
    name = run.resolve().name
    summary_path, episodes_path = run / SUMMARY_FILE, run / "episodes.jsonl"
    if summary_path.is_file():
        try:
            content = msgspec.json.decode(summary_path.read_bytes(), type=dict[str, Any])
            if "after" not in content:
                return [_point(name, content)]
            names = {"before": f"{name} (before)", "after": name}
            # Only the figures are an evaluation's: its seed is that of the policy's choices, not of the run.
            return [
                _point(names[label], content | {figure: content[label][figure] for figure in _FIGURES})
                for label in names
                if label in content
            ]
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise UserError(
                f"{summary_path}: not the summary of a finished run ({error}); finish or drop it."
            ) from error
    if episodes_path.is_file():
        episodes = read_trajectories(episodes_path)
        if any("label" in episode.metadata for episode in episodes):
            raise UserError(f"{run}: this training run has not finished (no summary.json); resume it with --ckpt_path.")
        return [_point(name, summarise(episodes))]
    raise UserError(
        f"{run}: neither summary.json nor episodes.jsonl here; name directories that fit or evaluate wrote."
    )


def pareto(runs: Sequence[Path], output_dir: Path) -> tuple[list[Point], Path, Path]:
    """Compares runs: writes ``pareto.csv`` and ``pareto.png`` with the frontier of completion against cost.

    Args:
        runs: Directories that ``fit`` or ``evaluate`` wrote.
        output_dir: Where to write.

    Returns:
        The points (cheapest first), and the paths of the table and of the plot.

    Raises:
        UserError: No runs are named, one is unreadable, or they were measured on different tasks.
    """
    if not runs:
        raise UserError("pareto: name at least one run directory.")
    read = [point for run in runs for point in read_run(run)]
    points = sorted(frontier(read), key=lambda point: (point.flops_per_task, -point.tgc))
    measured = sorted({f"{point.tasks} tasks of {point.split} in {point.world}" for point in points})
    if len(measured) > 1:
        raise UserError(f"pareto: the runs were measured on different tasks ({'; '.join(measured)}); compare one kind.")
    output_dir.mkdir(parents=True, exist_ok=True)
    table, plot = output_dir / "pareto.csv", output_dir / "pareto.png"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)])
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)
    _draw(points, plot)
    return points, table, plot


def _point(name: str, summary: dict[str, Any]) -> Point:
    return Point(
        run=name,
        world=summary["world"],
        split=summary["split"],
        tasks=summary["tasks"],
        tgc=summary["tgc"],
        sgc=summary["sgc"],
        flops_per_task=summary["flops"] / summary["tasks"],
        **{name: summary[name] for name in _SOURCE if name in summary},
    )


def _draw(points: Sequence[Point], path: Path) -> None:
    # The object interface needs no display and leaves no global state behind.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    best = [point for point in points if point.on_frontier]
    axes.plot(
        [point.flops_per_task for point in best],
        [point.tgc for point in best],
        drawstyle="steps-post",
        color="tab:orange",
        label="Pareto frontier",
    )
    axes.scatter([point.flops_per_task for point in points], [point.tgc for point in points], zorder=2)
    for point in points:
        axes.annotate(
            point.run, (point.flops_per_task, point.tgc), xytext=(4, 4), textcoords="offset points", fontsize=8
        )
    if all(point.flops_per_task > 0 for point in points):
        axes.set_xscale("log")
    axes.set_xlabel("forward FLOPs a task")
    axes.set_ylabel("task goal completion (%)")
    axes.set_ylim(-3, 103)
    axes.margins(x=0.2)  # room for the last name
    axes.set_title(f"{points[0].tasks} tasks of {points[0].split}, world {points[0].world}", fontsize=10)
    axes.legend()
    figure.savefig(path, dpi=150)
