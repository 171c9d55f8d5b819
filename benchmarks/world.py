"""Scripted episodes on the engine pool, 1, 2 and 4 at once, against a plain loop in one process; or many, for leaks.

An episode opens a task's world, executes its reference solution step by step and closes it; nothing is judged, and no
model is asked. All contenders play the same episodes in one run:

    python benchmarks/world.py --world worlds/mini --json runs/world.json
    python benchmarks/world.py --world worlds/mini --soak 2000 --json runs/soak.json
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from reporting import argument_parser, report
from tqdm import tqdm

from prost_lightning.agents.prompts import complete_task_code
from prost_lightning.appworld.data import ensure_unpacked, load_script, load_task_ids
from prost_lightning.appworld.pool import AppWorldPool

Episode = tuple[str, list[str]]
_SAMPLES = 20


def main() -> None:
    """Runs the comparison, or the soak."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--world", type=Path, default=Path("worlds/mini"), help="root of a generated world")
    parser.add_argument("--episodes", type=int, default=96, help="episodes of each contender")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2, 4], help="episodes at once")
    parser.add_argument(
        "--soak", type=int, metavar="N", help="instead: N episodes that answer at once, 4 side by side, for leaks"
    )
    arguments = parser.parse_args()
    ensure_unpacked()
    with tempfile.TemporaryDirectory(prefix="bench-world-") as directory:
        scratch = Path(directory)
        if arguments.soak:
            answers = cycle((task_id, codes[-1:]) for task_id, codes in scripted(arguments.world))
            rows, notes = asyncio.run(_soak(arguments.world, scratch, list(islice(answers, arguments.soak))))
            report(f"{arguments.soak} episodes, 4 at once", rows, json_path=arguments.json, notes=notes)
            return
        episodes = list(islice(cycle(scripted(arguments.world)), arguments.episodes))
        plain = _plain_loop(arguments.world, scratch, episodes)
        rows = [plain] + [
            asyncio.run(_pool(arguments.world, scratch / str(number), episodes, number))
            for number in arguments.concurrency
        ]
    for row in rows:
        row["ratio"] = row["episodes/s"] / plain["episodes/s"]
    alone = next((row for row in rows if row["at once"] == 1 and row is not plain), None)
    notes = [
        "PSS: a page that k processes share counts 1/k for each, so the sum is what the machine spends.",
        "Start: until the first episode is over. The first pool of a process imports AppWorld, those after it do not.",
    ]
    if alone is not None:
        extra = 1 / alone["episodes/s"] - 1 / plain["episodes/s"]
        share = 100 * extra * alone["episodes/s"]
        notes.append(f"Pool against plain loop, one at once: {1000 * extra:+.0f} ms an episode, {share:.0f}% of it.")
    report("Scripted episodes a second", rows, json_path=arguments.json, notes=notes)


def scripted(root: Path) -> list[Episode]:
    """The world's own training tasks with their reference solutions.

    Args:
        root: World root.

    Returns:
        Task and code of each execution.
    """
    scripts = {task_id: load_script(root, task_id) for task_id in load_task_ids(root, "train")}
    return [
        (task_id, [*(step.code for step in script.steps), complete_task_code(script.answer)])
        for task_id, script in scripts.items()
    ]


def _plain_loop(root: Path, scratch: Path, episodes: Sequence[Episode]) -> dict[str, Any]:
    """Plays them one after the other in one process; its memory is looked at from outside."""
    engine_root = scratch / "plain"
    engine_root.mkdir()
    (engine_root / "data").symlink_to(root.resolve() / "data")
    file = scratch / "episodes.json"
    file.write_text(json.dumps(episodes))
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("plain_loop.py")), str(file)],
        env={**os.environ, "APPWORLD_ROOT": str(engine_root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    memory = 0.0
    while process.poll() is None:
        memory = max(memory, _pss(process.pid))
        time.sleep(0.5)
    assert process.stdout is not None
    with process.stdout as printed:
        seconds = json.loads(printed.read().splitlines()[-1])
    return {
        "contender": "plain loop",
        "at once": 1,
        "episodes/s": len(episodes) / seconds["seconds"],
        "ratio": 1.0,
        "start s": seconds["start"],
        "open ms": None,
        "MB an episode": memory,
        "MB in all": memory,
    }


async def _pool(root: Path, scratch: Path, episodes: Sequence[Episode], concurrency: int) -> dict[str, Any]:
    """Plays them on a pool of our own, all handed over at once: the pool decides when each may start."""
    opening: list[float] = []
    memory: list[tuple[float, float]] = []
    started = time.perf_counter()
    async with AppWorldPool(root, scratch, episodes=concurrency) as pool:

        async def play(number: int, episode: Episode) -> None:
            task_id, codes = episode
            async with pool.open(task_id, f"pool-{number}") as session:
                for code in codes:
                    await session.execute(code)

        await play(0, episodes[0])
        ready = time.perf_counter()
        await asyncio.gather(*(play(number, episode) for number, episode in enumerate(episodes, start=1)))
        seconds = time.perf_counter() - ready
        for number, (task_id, codes) in enumerate(episodes[:concurrency]):
            begun = time.perf_counter()
            async with pool.open(task_id, f"opened-{number}") as session:
                opening.append(time.perf_counter() - begun)
                for code in codes:
                    await session.execute(code)
                memory.append(_memory_below(pool.process_id))
    return {
        "contender": "AppWorldPool",
        "at once": concurrency,
        "episodes/s": len(episodes) / seconds,
        "ratio": 1.0,
        "start s": ready - started,
        "open ms": 1000 * statistics.median(opening),
        "MB an episode": statistics.median(children for _, children in memory),
        "MB in all": statistics.median(own + concurrency * children for own, children in memory),
    }


async def _soak(root: Path, scratch: Path, episodes: Sequence[Episode]) -> tuple[list[dict[str, Any]], list[str]]:
    """Plays many episodes, and looks at this process and the worker every so often."""
    samples: list[dict[str, float]] = []
    wrong = 0
    progress = tqdm(total=len(episodes), unit="episode")
    started = time.perf_counter()
    async with AppWorldPool(root, scratch, episodes=4) as pool:

        async def play(number: int, episode: Episode) -> None:
            nonlocal wrong
            task_id, codes = episode
            async with pool.open(task_id, f"soak-{number}") as session:
                for code in codes:
                    observation = await session.execute(code)
            wrong += not observation.completed
            shutil.rmtree(scratch / "experiments" / "outputs" / f"soak-{number}")
            progress.update()

        for batch in np.array_split(np.arange(len(episodes)), _SAMPLES):
            await asyncio.gather(*(play(number, episodes[number]) for number in batch.tolist()))
            samples.append({"episodes": progress.n, **_state(pool.process_id)})
    progress.close()
    seconds = time.perf_counter() - started
    at = np.array([sample["episodes"] for sample in samples])
    rows = []
    for quantity in samples[0]:
        if quantity == "episodes":
            continue
        values = np.array([sample[quantity] for sample in samples])
        # The first samples show caches that fill once, not what each episode leaves behind.
        warm = slice(len(samples) // 5, None)
        rows.append(
            {
                "quantity": quantity,
                f"after {at[0]}": float(values[0]),
                f"after {at[len(at) // 2]}": float(values[len(at) // 2]),
                f"after {at[-1]}": float(values[-1]),
                "slope / 1,000 episodes": float(1000 * np.polyfit(at[warm], values[warm], 1)[0]),
            }
        )
    notes = [
        f"{len(episodes)} episodes in {seconds:.0f} s; {wrong} did not complete their task.",
        "The slope is fitted to the last four fifths of the samples.",
    ]
    return rows, notes


def _state(worker: int) -> dict[str, float]:
    figures = {}
    processes = {"this process": psutil.Process(), "worker": psutil.Process(worker)}
    processes["preloaded process"] = psutil.Process(processes["worker"].ppid())
    for name, process in processes.items():
        figures[f"{name}: private memory, MB"] = process.memory_full_info().uss / 1e6
        figures[f"{name}: open files"] = process.num_fds()
        figures[f"{name}: threads"] = process.num_threads()
    figures["worker: children"] = len(psutil.Process(worker).children(recursive=True))
    return figures


def _memory_below(worker: int) -> tuple[float, float]:
    """Megabytes (PSS) of the worker and its preloaded parent, and of all processes of the one episode that is open."""
    process = psutil.Process(worker)
    episode = sum(_pss(child.pid) for child in process.children(recursive=True))
    return _pss(worker) + _pss(process.ppid()), episode


def _pss(process: int) -> float:
    try:
        return float(psutil.Process(process).memory_full_info().pss) / 1e6
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


if __name__ == "__main__":
    main()
