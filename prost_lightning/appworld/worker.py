"""The process that has one world in hand: a fork of the preloaded one, for one pool or one evaluator.

It forks a fresh child (a hundredth of a second) for every job. So nothing can leak from one episode into the next and
nothing has to be recycled. A child plays one episode, or evaluates one, and talks to the training process through a
socket of its own (see :mod:`prost_lightning.appworld.jobs`).

The worker opens no world itself: what it held of the databases, a process that runs a model's code would inherit.

The worker never runs a model's code, holds no secret, and ends when the training process is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from prost_lightning.appworld import jobs, namespaces, sandbox
from prost_lightning.appworld.channel import Channel, ChannelClosedError, received_with_descriptors
from prost_lightning.appworld.sub_task_checks import api_names

_TRIAL_SECONDS = 60.0
_MAX_TRIALS = 5


class _TrialLostError(RuntimeError):
    """A process of the trial episode vanished without a word: somebody killed it, or memory ran out."""


def run(settings: dict[str, Any], control: socket.socket) -> None:
    """Serves jobs in this process, which then ends, until the training process closes the control socket.

    The worker says ``{"process": N}`` at once, and when it takes jobs ``{"missing": {...}}`` (the protections that they
    run without), or ``{"failed": ...}``. Each message that it takes is ``{"start": N, ...job}``, accompanied by the
    descriptor of the job's own channel, or ``{"end": N}``, which kills what is left of the job.

    Args:
        settings: Made by :class:`prost_lightning.appworld.launcher.Launcher`.
        control: The socket.
    """
    status = 0
    try:
        _say(control, {"process": os.getpid()})
        _settle(settings)
        _preload_world(settings)
        missing = sandbox.missing_protections(settings["unwanted"])
        if "trial" in settings:
            _try_episodes(settings["trial"], control, missing)
        _say(control, {"missing": missing})
        _serve(control, missing)
    except ConnectionError:
        pass  # The training process is gone.
    except BaseException as error:
        traceback.print_exc()
        with suppress(OSError):
            _say(control, {"failed": type(error).__name__})
        status = 1
    finally:
        shutil.rmtree(settings["scratch"], ignore_errors=True)
        sys.stderr.flush()
        os._exit(status)


def _say(control: socket.socket, message: dict[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def _settle(settings: dict[str, Any]) -> None:
    """Makes a process of its own of this fork: its log, its environment, its directory, children to wait for."""
    os.setsid()
    with open(settings["log"], "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.clear()
    os.environ.update(settings["environment"])
    tempfile.tempdir = None  # It is found anew.
    os.chdir(settings["scratch"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    namespaces.adopt_orphans()


def _preload_world(settings: dict[str, Any]) -> None:
    """Makes what is cached of a world's API documents, and a shell, so that a child finds it."""
    from appworld.apps import get_all_apps
    from appworld.collections.api_docs import ApiDocCollection

    from prost_lightning.appworld import code_process

    ApiDocCollection.load(load_apps=tuple(get_all_apps(skip_admin=True)), include_response_schemas=True)
    if "judged" in settings:
        api_names(Path(settings["judged"]))
    else:
        code_process.shell()


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
    running: dict[int, int] = {}
    try:
        for message, descriptors in received_with_descriptors(control):
            if "end" in message:
                _end(running.pop(message["end"], None))
                continue
            with socket.socket(fileno=descriptors.popleft()) as connection:
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
        status = os.waitpid(helper, 0)[1]
        if not number:
            namespaces.check_helper(status or 1, "a job's process")
        opener.write(b"!")
    return int(number)
