"""What the curriculum's sampler costs at ten million items: seconds and memory to build one epoch.

    python benchmarks/curriculum.py [--items 10000000] [--json FILE]

The table is synthetic: trajectories of ten sub-tasks and three roles, the orchestrator's conversation growing, the
others' restarting with each sub-task. Planning includes packing and counting the labels of every step; seconds of CPU
are what it takes on a machine that does nothing else. Memory is what building an epoch takes at its peak beyond the
table, as `tracemalloc` counts it (NumPy reports its arrays to it), in a second run, since counting slows it down. The
bar: under 1 s and under 200 MB.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from reporting import argument_parser, report

from prost_lightning.curriculum import CURRICULA, Pool, item_levels
from prost_lightning.datamodules.sampler import SubtaskCurriculumSampler
from prost_lightning.datamodules.table import SequenceTable

SUB_TASKS = 10


def synthetic_table(n_items: int) -> SequenceTable:
    """A table of about so many items, with lengths drawn at random."""
    n = n_items // (3 * SUB_TASKS)
    random = np.random.default_rng(0)
    # Of each trajectory the orchestrator's conversation with all sub-tasks, then the executor's and the critic's, each
    # with one.
    sequences = 1 + 2 * SUB_TASKS
    role = np.tile(np.array([0] + [1, 2] * SUB_TASKS, np.int8), n)
    turns = np.tile(np.array([SUB_TASKS] + [1] * 2 * SUB_TASKS, np.int32), n)
    positions = np.arange(1, SUB_TASKS + 1, dtype=np.int32)
    position = np.tile(np.concatenate([positions, np.repeat(positions, 2)]), n)
    labelled = random.integers(10, 100, size=3 * SUB_TASKS * n, dtype=np.int32)
    read = random.integers(50, 400, size=3 * SUB_TASKS * n, dtype=np.int32)
    end = (labelled + read).reshape(n, 3 * SUB_TASKS)
    end[:, :SUB_TASKS] = np.cumsum(end[:, :SUB_TASKS], axis=1)
    return SequenceTable.build(
        trajectory=np.repeat(np.arange(n, dtype=np.int32), sequences),
        role=role,
        turns=turns,
        turn_start=end.ravel() - labelled,
        turn_end=end.ravel(),
        turn_position=position,
        difficulty=np.repeat(random.integers(1, 4, size=n, dtype=np.int8), sequences),
    )


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, by the clock on the wall or another."""
    begin = clock()
    function()
    return clock() - begin


def peak_megabytes(function: Callable[[], object]) -> float:
    """Most memory that one call has allocated at a time, beyond what was there."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    function()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Measures and reports."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3, help="of which the fastest counts")
    arguments = parser.parse_args()
    table = synthetic_table(arguments.items)
    items = table.items
    rows = []
    for name, pool in {
        "progressive": Pool(),
        "replay 0.3": Pool(replay=0.3),
        "window of 2": Pool(replay=0.0, window=2),
    }.items():
        sampler = SubtaskCurriculumSampler(table, items.position, tokens_per_batch=8192, visible=pool)
        for stage in (1, SUB_TASKS):

            def plan(sampler: SubtaskCurriculumSampler = sampler, stage: int = stage) -> object:
                return sampler.plan(stage=stage, epoch=stage)

            rows.append(
                {
                    "pool": name,
                    "stage": stage,
                    "items visible": int(pool(items.position, stage, stage).sum()),
                    "steps": len(sampler.plan(stage=stage, epoch=stage)),
                    "plan an epoch, s": min(seconds(plan) for _ in range(arguments.repeats)),
                    "of CPU, s": min(seconds(plan, time.process_time) for _ in range(arguments.repeats)),
                    "peak, MB": peak_megabytes(plan),
                }
            )
    slowest, largest = (max(row[column] for row in rows) for column in ("plan an epoch, s", "peak, MB"))
    losses = items.tokens / 7
    once = {name: seconds(lambda name=name: item_levels(items, name, losses=losses)) for name in CURRICULA}  # type: ignore[misc]
    report(
        f"Planning an epoch over {len(items):,} items in {len(table):,} sequences",
        rows,
        json_path=arguments.json,
        notes=[
            f"Bar: under 1 s (slowest {slowest:.2f} s) and under 200 MB (largest {largest:.0f} MB): "
            + ("holds." if slowest < 1 and largest < 200 else "does NOT hold."),
            "Giving levels, once a run, s: " + ", ".join(f"{name} {spent:.2f}" for name, spent in once.items()),
        ],
    )


if __name__ == "__main__":
    main()
