"""The training process's side of the preloaded process from which all of its workers are forked."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from typing import Any

from prost_lightning.appworld.channel import send_with_descriptor
from prost_lightning.appworld.worker_home import clean_environment

_LAST_WORDS_CHARS = 300


def fork_server() -> ForkServer:
    """The fork server of this process; a fork of this process gets one of its own."""
    return _fork_server_of(os.getpid())


@cache
def _fork_server_of(process: int) -> ForkServer:
    return ForkServer()


class ForkServer:
    """A process that has AppWorld imported and forks workers; see :mod:`prost_lightning.appworld.preload`.

    It starts when the first worker is asked for, starts again if it died, and ends with this process: importing
    AppWorld takes some ten seconds of processor time, which all pools of a process so spend once. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int | None:
        """Number of the process; None if it was never needed."""
        return self._process.pid if self._process else None

    def fork(self, settings: dict[str, Any], connection: socket.socket) -> None:
        """Has a worker forked, without waiting for it.

        Args:
            settings: What :func:`prost_lightning.appworld.worker.run` expects.
            connection: The worker's end of a connection to this process, which ends when the worker does.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            try:
                send_with_descriptor(self._control, settings, connection)
            except OSError:
                self._start()
                with suppress(OSError):  # Whoever waits for the worker sees the connection end.
                    send_with_descriptor(self._control, settings, connection)

    def failure(self) -> str:
        """What the process said last, if it ended by itself; empty if it runs or was killed."""
        with self._lock:
            if self._process is None:
                return ""
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
            ended = self._process.poll()
            if ended is None or ended < 0:
                return ""
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").split("\n")
            said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
            return f"AppWorld could not be imported: {said[:_LAST_WORDS_CHARS]}"

    def _start(self) -> None:
        if self._process is None:
            atexit.register(self._close)
        else:
            self._close()
        self._owner = os.getpid()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (the process writes to it as long as it runs)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "prost_lightning.appworld.preload", json.dumps(theirs.fileno())],
                env=clean_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the training process, which then ends the workers.
            )

    def _close(self) -> None:
        """Ends the process; workers that are left end with it."""
        if self._process is None or self._owner != os.getpid():
            return
        self._control.close()
        self._log.close()
        self._process.kill()  # There is nothing to finish or to clean up.
        self._process.wait()
