from __future__ import annotations

import os
import signal

import pytest

from prost_lightning.appworld.namespaces import check_helper


def end_of_a_process(exit_code: int | None) -> int:
    """How a forked process ends, as ``os.waitpid`` tells; None kills it."""
    process = os.fork()
    if process == 0:
        if exit_code is None:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(exit_code or 0)
    return os.waitpid(process, 0)[1]


def test_a_helper_that_was_killed_is_told_from_a_system_that_refuses() -> None:
    check_helper(end_of_a_process(0), "a process")
    with pytest.raises(ConnectionAbortedError, match="a process was lost"):
        check_helper(end_of_a_process(None), "a process")
    with pytest.raises(OSError, match="a process could not be isolated") as refused:
        check_helper(end_of_a_process(1), "a process")
    assert not isinstance(refused.value, ConnectionError)
