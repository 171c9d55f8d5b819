"""The process in which AppWorld lives: ``python -m prost_lightning.appworld.worker``.

It imports AppWorld and opens one world once (seconds), then forks a fresh child for every job (a tenth of a second). So
nothing can leak from one episode into the next and nothing has to be recycled. A child plays one episode, or evaluates
one, and talks to the training process through a socket of its own (see :mod:`prost_lightning.appworld.jobs`).

The parent never runs a model's code, holds no secret, and ends when the training process is gone.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import sys
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from prost_lightning.appworld import jobs, sandbox
from prost_lightning.appworld.channel import Channel

#: How often the parent looks whether the training process is still there, in case something else keeps the socket open.
_HEARTBEAT_SECONDS = 2.0


def main() -> None:
    """Serves jobs until the training process closes the control socket.

    Each message on the socket is one JSON line: ``{"start": N, ...job}``, accompanied by the descriptor of the job's
    own channel, or ``{"end": N}``, which kills what is left of the job.
    """
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=int(settings["control"]))
    status = 0
    try:
        _preload(settings["preload_task"])
        problem = _why_not_isolated() if settings["isolate"] else "not asked for"
        control.sendall(json.dumps({"isolated": not problem, "reason": problem}).encode() + b"\n")
        _serve(control, isolated=not problem)
    except ConnectionError:
        pass  # The training process is gone.
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        shutil.rmtree(settings["scratch"], ignore_errors=True)
        sys.stderr.flush()
        os._exit(status)


def _preload(task_id: str) -> None:
    """Imports AppWorld and opens a world, so that a forked child finds everything loaded."""
    import dotenv

    # AppWorld reads the next .env file above its own directory into the environment: a project's secrets, if the
    # virtual environment lies in the project.
    dotenv.load_dotenv = lambda *_, **__: False
    from appworld import AppWorld
    from appworld.apps.model_lib import get_direct_cached_sqlite3_connection
    from appworld.common.path_store import path_store
    from appworld.evaluator import evaluate_task  # noqa: F401  (loaded for the children)

    experiment = f".preload-{os.getpid()}"
    with AppWorld(task_id=task_id, experiment_name=experiment, load_ground_truth=False) as world:
        world.execute("print(apis.supervisor.show_profile())")
        world.task_completed()
    shutil.rmtree(Path(path_store.experiment_outputs) / experiment, ignore_errors=True)
    # AppWorld keeps the base databases open. A child must not inherit such descriptors: it could write to the files
    # through them, read-only mount or not, and so spoil every later episode.
    get_direct_cached_sqlite3_connection.cache_clear()
    gc.collect()
    gc.freeze()  # What is loaded stays shared: a child's collector does not touch, and so copy, these pages.


def _why_not_isolated() -> str:
    """Tries namespaces in a throw-away child; returns why they cannot be had, or nothing."""
    if not sandbox.IS_LINUX:
        return f"{sys.platform} has no namespaces"
    reading, writing = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            sandbox.new_namespaces()
            first = os.fork()
            if first == 0:
                sandbox.confine(hidden=[Path("/run")], kept=[], writable=None, temporary=None)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
        except OSError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as reasons:
        reason = reasons.read()
    failed = os.waitpid(helper, 0)[1] != 0
    return (reason or "the kernel refused") if failed else ""


def _serve(control: socket.socket, *, isolated: bool) -> None:
    """Starts and ends children as told, until the training process is gone; then ends all of them."""
    if isolated:
        sandbox.adopt_orphans()
    trainer = os.getppid()
    running: dict[int, int] = {}
    channels: deque[int] = deque()
    buffer = b""
    control.settimeout(_HEARTBEAT_SECONDS)
    try:
        while os.getppid() == trainer:
            try:
                data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 64)
            except TimeoutError:
                continue
            if not data:
                return
            channels.extend(descriptors)
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "end" in message:
                    _end(running.pop(message["end"], None))
                    continue
                with socket.socket(fileno=channels.popleft()) as connection:
                    try:
                        running[message["start"]] = _start(message, connection, control, isolated=isolated)
                    except OSError:
                        jobs.report_failure(Channel(connection), "env_error")
    finally:
        for process in running.values():
            _end(process)


def _end(process: int | None) -> None:
    """Kills a child with all that it started, and waits for it."""
    if process is None:
        return
    # The group too: without a namespace, killing the child alone would leave what it started.
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def _start(job: dict[str, Any], connection: socket.socket, control: socket.socket, *, isolated: bool) -> int:
    """Forks a child for a job.

    Only the child of a process that has made a new process namespace is inside it. So with isolation a helper makes
    one, forks the child, tells its number and is gone, and the child becomes ours (see ``adopt_orphans``).

    Returns:
        The child's process number.
    """
    if not isolated:
        process = os.fork()
        if process == 0:
            control.close()
            jobs.run(job, Channel(connection), isolated=False)
        return process
    reading, writing = os.pipe()
    gate, gate_opener = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            control.close()
            os.close(reading)
            os.close(gate_opener)
            sandbox.new_namespaces()
            process = os.fork()
            if process == 0:
                os.close(writing)
                # Only once the helper is buried is its death no longer the death of this process's parent.
                if os.read(gate, 1):
                    os.close(gate)
                    jobs.run(job, Channel(connection), isolated=True)
            else:
                os.write(writing, str(process).encode())
        except OSError:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    os.close(gate)
    with os.fdopen(reading) as numbers, os.fdopen(gate_opener, "wb", buffering=0) as opener:
        number = numbers.read()
        os.waitpid(helper, 0)
        if not number:
            raise OSError("a job's process could not be isolated")
        opener.write(b"!")
    return int(number)


if __name__ == "__main__":
    main()
