"""Episodes while workers are killed at random: every one ends with a result, none is lost, none is doubled.

The oracle plays a world's tasks, four at once. Every few seconds SIGKILL hits an episode's process, a process that
judges one, or (one time in five) one of the two workers or the preloaded process that forks them, while they start as
well. Every episode must be there once, and end as it does undisturbed: solved.

    python benchmarks/faults.py --world worlds/mini --episodes 500 --json runs/faults.json
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from reporting import argument_parser, report

from prost_lightning.agents.arena import Arena
from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.agents.records import EpisodeFile
from prost_lightning.appworld.data import load_task_ids
from prost_lightning.trajectory import read_trajectories


def main() -> None:
    """Plays the episodes under fire and reports how they ended."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--world", type=Path, default=Path("worlds/mini"), help="root of a generated world")
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=3.0, help="mean time between two kills")
    arguments = parser.parse_args()
    tasks = load_task_ids(arguments.world, "train")
    killed: Counter[str] = Counter()
    over = threading.Event()
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="bench-faults-") as scratch,
        Arena(arguments.world, Path(scratch), concurrency=4) as arena,
    ):
        file = EpisodeFile(Path(scratch) / "episodes.jsonl")
        killer = threading.Thread(target=_kill, args=(arguments.seconds, killed, over), daemon=True)
        killer.start()
        for seed, first in enumerate(range(0, arguments.episodes, len(tasks))):
            arena.play(
                tasks[: arguments.episodes - first],
                split="train",
                policy=OraclePolicy(arguments.world, seed=seed),
                experiment=f"faults-seed{seed}",
                seed=seed,
                on_end=file.append,
            )
        over.set()
        killer.join()
        written = read_trajectories(file.path)
    expected = {(number // len(tasks), tasks[number % len(tasks)]) for number in range(arguments.episodes)}
    found = Counter((episode.seed, episode.task_id) for episode in written)
    restarts = Counter(episode.metadata["engine_restarts"] for episode in written)
    reasons = Counter(episode.outcome.end_reason for episode in written)
    row = {
        "episodes": arguments.episodes,
        "with a result": len(found.keys() & expected),
        "lost": len(expected - found.keys()),
        "doubled": sum(count - 1 for count in found.values()),
        "not asked for": len(found.keys() - expected),
        "solved": sum(episode.outcome.success for episode in written),
        **{f"killed: {kind}": count for kind, count in sorted(killed.items())},
        "seconds": time.perf_counter() - started,
    }
    notes = [
        "end reasons: " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())),
        "engines lost: " + ", ".join(f"{count} episodes {number}" for number, count in sorted(restarts.items())),
    ]
    unsolved = [episode for episode in written if not episode.outcome.success][:5]
    notes += [f"not solved: {one.task_id} {one.outcome.detail} {one.outcome.failures[:1]}" for one in unsolved]
    report("Workers killed at random", [row], json_path=arguments.json, notes=notes)


def _kill(seconds: float, killed: Counter[str], over: threading.Event) -> None:
    """Kills one of this process's workers, or a child of one, again and again."""
    chance = random.Random(0)
    while not over.wait(chance.uniform(0.5 * seconds, 1.5 * seconds)):
        preloaded = [child for child in psutil.Process().children() if _is_preloaded(child)]
        workers = [worker for process in preloaded for worker in _children(process)]
        targets = {"preloaded process": preloaded, "worker": workers}
        if chance.random() < 0.2:
            kind = chance.choice(sorted(targets))
        else:
            kind = "episode or judge"
            targets[kind] = [child for worker in workers for child in _children(worker, recursive=True)]
        if targets[kind]:
            with suppress(psutil.NoSuchProcess):
                chance.choice(targets[kind]).kill()
                killed[kind] += 1


def _is_preloaded(process: psutil.Process) -> bool:
    try:
        return "prost_lightning.appworld.preload" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def _children(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=recursive))
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    main()
