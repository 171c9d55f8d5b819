"""Some 250 snippets that try to cheat, to break out or to break the engine: none may, whatever else they cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from prost_lightning.appworld.blocking import BlockingPool

HOSTILE = Path(__file__).parent / "hostile"
GROUPS = sorted(path.stem for path in HOSTILE.glob("*.toml"))
_SECONDS = 900


def _play(world: Path, result: Path, *options: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(HOSTILE / "run.py"), str(world), str(result), *options]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(result.read_bytes())
    return found


def _check(found: dict[str, Any]) -> None:
    for snippet in found["snippets"]:
        what = f"{snippet['group']}: {snippet['name']}: {snippet}"
        assert snippet["escapes"] == [], what
        assert bool(snippet["reason"]) == snippet["ends"], what
        assert snippet["shown"] or snippet["ends"], what
    assert {entry["group"]: entry["well"] for entry in found["health"]} == dict.fromkeys(GROUPS, True)
    assert found["solved_afterwards"]
    assert not found["hostile_episode_passed"]


@pytest.fixture(scope="module")
def world(mini_world: Path, pool: BlockingPool) -> Path:
    if pool.missing_protections:
        pytest.skip(f"this system does not protect enough to try: {pool.missing_protections}")
    return mini_world


def test_the_corpus_is_large_and_named() -> None:
    snippets = [
        snippet for group in GROUPS for snippet in tomllib.loads((HOSTILE / f"{group}.toml").read_text())["snippet"]
    ]
    assert len(snippets) >= 150
    assert len(GROUPS) == 14
    assert all(snippet["name"] and snippet["code"] for snippet in snippets)


def test_nothing_escapes_and_nothing_is_lost(world: Path, tmp_path: Path) -> None:
    _check(_play(world, tmp_path / "result.json"))


@pytest.mark.slow
def test_nothing_escapes_from_the_whole_corpus(world: Path, tmp_path: Path) -> None:
    _check(_play(world, tmp_path / "result.json", "--all"))
