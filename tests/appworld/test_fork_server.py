from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prost_lightning.appworld.channel import Channel, ChannelClosedError
from prost_lightning.appworld.fork_server import ForkServer, fork_server

Make = Callable[[str], None]


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts a shell script in the interpreter's place."""

    def make(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return make


def _fork(server: ForkServer) -> Channel:
    ours, theirs = socket.socketpair()
    with theirs:
        server.fork({}, theirs)
    return Channel(ours)


def test_what_it_said_last_is_known_if_it_ended_by_itself(python: Make) -> None:
    server = ForkServer()
    assert (server.process_id, server.failure()) == (None, "")
    python("echo first; echo 'ImportError: no such thing' >&2; echo; exit 3")
    with pytest.raises(ChannelClosedError):
        _fork(server).receive(20)
    assert server.failure() == "AppWorld could not be imported: ImportError: no such thing"


def test_it_is_started_again_after_it_was_killed(python: Make) -> None:
    server = ForkServer()
    python("exec sleep 60")
    waiting = _fork(server)
    first = server.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ChannelClosedError):
        waiting.receive(20)
    assert server.failure() == ""
    _fork(server)
    assert server.process_id not in (None, first)
    server._close()
    assert not Path(f"/proc/{server.process_id}").exists()


def test_a_process_has_one_and_its_forks_have_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fork_server() is fork_server()
    own = fork_server()
    number = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: number + 1)
    assert fork_server() is not own


def test_it_knows_nothing_of_this_processs_environment(
    python: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    python(f"env > {tmp_path}/seen.part; mv {tmp_path}/seen.part {tmp_path}/seen; exec sleep 60")
    server = ForkServer()
    _fork(server)
    deadline = time.monotonic() + 20
    while not (tmp_path / "seen").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    names = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert {"PYTHONPATH", "HOME"} <= names
    assert "WANDB_API_KEY" not in names
    assert "secret" not in (tmp_path / "seen").read_text()
    server._close()
