from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prost_lightning.appworld.blocking import BlockingPool
from prost_lightning.appworld.pool import AppWorldPool
from prost_lightning.appworld.protections import PROTECTIONS
from prost_lightning.errors import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at Linux's protections"),
]

# What still holds without one of them.
REFUSED = {
    "namespaces": "__import__('posix').open('/etc/passwd', 0)",
    "landlock": "__import__('posix').open('/etc/passwd', 0)",
    "seccomp": "__import__('socket').create_connection(('127.0.0.1', 22), 1)",
}


@pytest.mark.parametrize("without", PROTECTIONS)
def test_the_others_hold_without_one(
    mini_world: Path, tmp_path: Path, task_ids: list[str], caplog: pytest.LogCaptureFixture, without: str
) -> None:
    with BlockingPool(AppWorldPool(mini_world, tmp_path, without=[without])) as pool:
        missing = pool.missing_protections
        if missing.keys() != {without}:
            pytest.skip(f"this system lacks more: {missing}")
        assert PROTECTIONS[without] in caplog.text
        with pool.open(task_ids[0], "less") as session:
            assert session.execute(REFUSED[without]).error
            profile = session.execute("print(apis.supervisor.show_profile()['email'])")
            assert profile.output.strip() == session.task.email


def test_strict_refuses_to_run_with_less(mini_world: Path, tmp_path: Path, task_ids: list[str]) -> None:
    with (
        BlockingPool(AppWorldPool(mini_world, tmp_path, sandbox="strict", without=["landlock"])) as pool,
        pytest.raises(UserError, match="no landlock"),
    ):
        pool.open(task_ids[0], "refused")
