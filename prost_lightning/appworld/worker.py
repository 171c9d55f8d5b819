"""The process in which AppWorld lives: ``python -m prost_lightning.appworld.worker``.

It imports AppWorld once (seconds), then forks a fresh child for every job (tenths of a second). So nothing can leak
from one episode into the next and nothing has to be recycled. A child plays one episode, or evaluates one, and talks to
the training process through a socket of its own (see :mod:`prost_lightning.appworld.jobs`).

The parent opens no world itself: what it held of the databases, a process that runs a model's code would inherit.

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
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from prost_lightning.appworld import jobs, namespaces, sandbox
from prost_lightning.appworld.channel import Channel, ChannelClosedError

#: How often the parent looks whether the training process is still there, in case something else keeps the socket open.
_HEARTBEAT_SECONDS = 2.0
_TRIAL_SECONDS = 60.0
_MAX_TRIALS = 5


class _TrialLostError(RuntimeError):
    """A process of the trial episode vanished without a word: somebody killed it, or memory ran out."""


def main() -> None:
    """Serves jobs until the training process closes the control socket.

    Each message on the socket is one JSON line: ``{"start": N, ...job}``, accompanied by the descriptor of the job's
    own channel, or ``{"end": N}``, which kills what is left of the job.
    """
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=int(settings["control"]))
    status = 0
    try:
        _preload()
        namespaces.adopt_orphans()
        missing = sandbox.missing_protections(settings["unwanted"])
        if "trial" in settings:
            _try_episodes(settings["trial"], control, missing)
        control.sendall(json.dumps({"missing": missing}).encode() + b"\n")
        _serve(control, missing)
    except ConnectionError:
        pass  # The training process is gone.
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        shutil.rmtree(settings["scratch"], ignore_errors=True)
        sys.stderr.flush()
        os._exit(status)


def _preload() -> None:
    """Imports AppWorld and makes what it caches of its own code, so that a forked child finds everything loaded."""
    import dotenv

    # AppWorld reads the next .env file above its own directory into the environment: a project's secrets, if the
    # virtual environment lies in the project.
    dotenv.load_dotenv = lambda *_, **__: False
    from appworld import requester
    from appworld.apps import build_main_app, get_all_apps
    from appworld.collections.api_docs import ApiDocCollection
    from appworld.common.utils import freeze_time, get_name_to_apis
    from appworld.environment import TRUE_AVAILABLE_IMPORTS
    from appworld.evaluator import evaluate_task  # noqa: F401  (loaded for the children)

    from prost_lightning.appworld import code_process

    apps = get_all_apps(skip_admin=True)
    ApiDocCollection.load(load_apps=tuple(apps), include_response_schemas=True)
    served = build_main_app(tuple(sorted(get_all_apps())))
    requester.build_main_app = lambda _: served
    for app in get_all_apps():
        get_name_to_apis(app, ignore_private_apis=True)
        requester._get_api_name_to_doc(app, include_private_apis=True)
    code_process.shell()
    exec(TRUE_AVAILABLE_IMPORTS, {})
    with freeze_time(datetime(2023, 5, 18)):
        pass  # Once, since the first time it looks through all modules for clocks.
    gc.collect()
    gc.freeze()  # What is loaded stays shared: a child's collector does not touch, and so copy, these pages.


def _try_episodes(job: dict[str, Any], control: socket.socket, missing: Collection[str]) -> None:
    """Has a trial episode played, another one if its processes were killed.

    Raises:
        RuntimeError: It went wrong, as the message says.
    """
    for number in range(1, _MAX_TRIALS + 1):
        try:
            _try_episode(job, control, missing)
        except _TrialLostError:
            if number == _MAX_TRIALS:
                raise
        else:
            return


def _try_episode(job: dict[str, Any], control: socket.socket, missing: Collection[str]) -> None:
    """Plays a small episode as a child does, so that a broken world or protection is found before the first real one.

    Raises:
        RuntimeError: It went wrong, as the message says.
        _TrialLostError: One of its processes vanished.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = _start(job, theirs, control, missing)
    channel = Channel(ours)
    try:
        answer = channel.receive(_TRIAL_SECONDS)
        if "failed" not in answer:
            channel.send({"code": "print(apis.supervisor.show_profile())"})
            answer = channel.receive(_TRIAL_SECONDS)
        if "failed" in answer or answer.get("error"):
            failure = _TrialLostError if answer.get("lost") else RuntimeError
            raise failure(answer.get("detail") or answer["output"])
    except ChannelClosedError as error:
        raise _TrialLostError("the trial episode's process vanished") from error
    finally:
        channel.close()
        _end(process)
        shutil.rmtree(Path(job["output"]).parent.parent, ignore_errors=True)


def _serve(control: socket.socket, missing: Collection[str]) -> None:
    """Starts and ends children as told, until the training process is gone; then ends all of them."""
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
                        running[message["start"]] = _start(message, connection, control, missing)
                    except OSError as error:
                        jobs.report_failure(Channel(connection), error)
    finally:
        for process in running.values():
            _end(process)


def _end(process: int | None) -> None:
    """Kills a child with all that it started, and waits until they are gone."""
    if process is None:
        return
    # The group too: without a namespace, killing the child alone would leave what it started.
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    # The rest of the group is ours to bury now (see ``adopt_orphans``).
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-process, 0)


def _start(job: dict[str, Any], connection: socket.socket, control: socket.socket, missing: Collection[str]) -> int:
    """Forks a child for a job.

    Only the child of a process that has made a new process namespace is inside it. So with isolation a helper makes
    one, forks the child, tells its number and is gone, and the child becomes ours (see ``adopt_orphans``).

    Returns:
        The child's process number.
    """
    if "namespaces" in missing:
        process = os.fork()
        if process == 0:
            control.close()
            jobs.run(job, Channel(connection), missing=missing)
        return process
    reading, writing = os.pipe()
    gate, gate_opener = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            control.close()
            os.close(reading)
            os.close(gate_opener)
            namespaces.new_namespaces()
            process = os.fork()
            if process == 0:
                os.close(writing)
                # Only once the helper is buried is its death no longer the death of this process's parent.
                if os.read(gate, 1):
                    os.close(gate)
                    jobs.run(job, Channel(connection), missing=missing)
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
