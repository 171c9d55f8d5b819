"""What the engine pool is compared with: worlds opened one after the other in one process, as AppWorld's examples do.

Started by ``benchmarks/world.py`` with a JSON file of ``[task_id, [code, ...]]`` pairs; prints JSON. The clock is the
system's, since AppWorld stops Python's while a world is open.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Plays the episodes and prints the seconds that start and episodes took."""
    started = _now()
    from appworld import AppWorld

    def play(number: int, task_id: str, codes: list[str]) -> None:
        with AppWorld(task_id=task_id, experiment_name=f"plain-{number}", load_ground_truth=False) as world:
            for code in codes:
                world.execute(code)

    episodes = json.loads(Path(sys.argv[1]).read_bytes())
    play(0, *episodes[0])
    ready = _now()
    for number, episode in enumerate(episodes, start=1):
        play(number, *episode)
    print(json.dumps({"start": ready - started, "seconds": _now() - ready}), flush=True)
    os._exit(0)  # An orderly exit takes AppWorld seconds.


def _now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


if __name__ == "__main__":
    main()
