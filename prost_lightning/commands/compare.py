"""Commands that compare runs."""

from __future__ import annotations

from pathlib import Path


def pareto(*runs: Path, output_dir: Path = Path("runs")) -> None:
    """Compares runs: completion against cost, with the Pareto frontier, as a plot and a table.

    Args:
        runs: Directories that fit or evaluate wrote.
        output_dir: Where pareto.png and pareto.csv go.
    """
    from prost_lightning.pareto import pareto as compare

    points, table, plot = compare(runs, output_dir)
    for point in points:
        mark = "*" if point.on_frontier else " "
        print(
            f"{mark} {point.run:<40} TGC {point.tgc:5.1f}  SGC {point.sgc:5.1f}  {point.flops_per_task:.2g} FLOPs/task"
        )
    print(f"Written (* = on the frontier): {plot}, {table}")
