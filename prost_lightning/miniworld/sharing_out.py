"""Shares the verification of tasks out among processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from prost_lightning.appworld.namespaces import die_with_parent

Job = TypeVar("Job")
Result = TypeVar("Result")
_MOST_WORKERS = 4


def share_out(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None) -> Iterator[Result]:
    """Calls a function for each job in forked processes.

    Each process gets neighbours in the sequence, so that it can use again what it remembers of the one for the next;
    one that has done its own takes from the end of another's.

    Args:
        function: What is to be done; it runs in the processes, which know all that this one knows now.
        jobs: In an order in which neighbours have much in common.
        workers: Number of processes; None for as many as there are cores for this one, at most four.

    Yields:
        The results as they come.

    Raises:
        RuntimeError: A process ended before its work did.
    """
    fork = get_context("fork")
    workers = workers or min(_MOST_WORKERS, _cores())
    share = -(-len(jobs) // workers) or 1
    waiting: dict[Connection, deque[int]] = {}
    for first in range(0, len(jobs), share):
        ours, theirs = fork.Pipe()
        fork.Process(target=_serve, args=(theirs, function, jobs), daemon=True).start()
        # So that the end of the process is seen here.
        theirs.close()
        waiting[ours] = deque(range(first, min(first + share, len(jobs))))

    busy = set(waiting)

    def hand_out(channel: Connection) -> None:
        """Sends a process its next job, or that there is none."""
        own, longest = waiting[channel], max(waiting.values(), key=len)
        if own:
            channel.send(own.popleft())
        elif longest:
            channel.send(longest.pop())
        else:
            channel.send(None)
            busy.remove(channel)

    for channel in waiting:
        hand_out(channel)
    for _ in jobs:
        ready = next(channel for channel in wait(list(busy)) if isinstance(channel, Connection))
        try:
            result: Result = ready.recv()
        except EOFError:
            raise RuntimeError("A verifying process ended before its work did.") from None
        hand_out(ready)
        yield result


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _serve(channel: Connection, function: Callable[[Job], Result], jobs: Sequence[Job]) -> None:
    die_with_parent()
    while (index := channel.recv()) is not None:
        channel.send(function(jobs[index]))
