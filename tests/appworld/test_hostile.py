"""What a model's code does wrong, or on purpose, costs at most its own episode. All runs under the pool's limits."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from prost_lightning.appworld.blocking import BlockingPool
from prost_lightning.appworld.engine import EngineError, EngineLimits

# Short, so that a hostile turn costs a test two seconds.
LIMITS = EngineLimits(execute_seconds=1.0, grace_seconds=1.0)

ENDLESS_RETRY = "while True:\n  try:\n    for n in range(10**12): len('')\n  except BaseException: pass"
JUNK_EVERYWHERE = """
write = __import__('posix').write
for n in range(3, 40):
  try: write(n, b'junk\\n')
  except OSError: pass
"""
FLOOD = """
write = __import__('posix').write
for n in range(3, 40):
  try:
    while write(n, b'x' * 65536): pass
  except OSError: pass
"""


def forge(*messages: object) -> str:
    """Code that writes answers of its own into its process's channel."""
    lines = b"".join((text if isinstance(text, str) else json.dumps(text)).encode() + b"\n" for text in messages)
    return JUNK_EVERYWHERE.replace(repr(b"junk\n"), repr(lines))


ANSWER = {"output": "forged", "truncated": False}

# AppWorld itself turns these into something that the agent sees; the episode goes on.
SEEN_BY_THE_AGENT = {
    "endless loop": ("while True: pass", "timed out"),
    "memory bomb": ("hoard = bytearray(8 << 30)", "MemoryError"),
    "deep recursion": ("def f(): return f()\nf()", "RecursionError"),
    "forbidden call": ("import os\nos._exit(0)", "not allowed"),
    "forbidden import": ("import subprocess", "not allowed"),
    "not Python": ("I will now log in.", "Syntax error"),
}

# These end the episode.
FATAL = {
    "loop that swallows the interruption": (ENDLESS_RETRY, "limit:execute_seconds"),
    "loop in C": ("sum(range(10**12))", "limit:execute_seconds"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "env_error"),
    "GeneratorExit": ("raise GeneratorExit", "env_error"),
    "exit": ("__import__('posix')._exit(0)", "env_error"),
    "abort": ("__import__('os').abort()", "env_error"),
    "segmentation fault": ("__import__('ctypes').string_at(0)", "env_error"),
    "closed descriptors": ("__import__('os').closerange(0, 300)", "env_error"),
    "junk in the channel": (JUNK_EVERYWHERE, "env_error"),
    "flood in the channel": (FLOOD, "env_error"),
    "forged text that is no Unicode": (forge(ANSWER | {"output": "\ud800"}), "env_error"),
    "forged output of a wrong type": (forge(ANSWER | {"output": ["forged"]}), "env_error"),
    "forged flag of a wrong type": (forge(ANSWER | {"truncated": "yes"}), "env_error"),
    "forged answer without output": (forge({"truncated": True}), "env_error"),
    "forged end": (forge({"failed": "completed", "detail": 3}), "env_error"),
    "forged end of a wrong type": (forge({"failed": ["limit:memory"]}), "env_error"),
    "forged depth": (forge("[" * 100_000), "env_error"),
}


@pytest.mark.parametrize("kind", SEEN_BY_THE_AGENT)
def test_the_agent_sees_what_went_wrong(pool: BlockingPool, task_ids: list[str], kind: str) -> None:
    code, message = SEEN_BY_THE_AGENT[kind]
    with pool.open(task_ids[0], "hostile", LIMITS) as session:
        observation = session.execute(code)
        assert observation.error
        assert message in observation.output
        assert session.execute("print(6 * 7)").output.strip() == "42"


@pytest.mark.parametrize("kind", FATAL)
def test_costs_one_episode_and_its_reason_is_told(pool: BlockingPool, task_ids: list[str], kind: str) -> None:
    code, reason = FATAL[kind]
    with pool.open(task_ids[0], "bystander") as bystander:
        bystander.execute("kept = 1")
        with pool.open(task_ids[0], "hostile", LIMITS) as session:
            started = time.monotonic()
            with pytest.raises(EngineError, match=r"\w") as failure:
                session.execute(code)
            assert failure.value.end_reason == reason
            assert time.monotonic() - started < 6
            with pytest.raises(EngineError):
                session.execute("print(1)")
        assert bystander.execute("print(kept)").output.strip() == "1"
    with pool.open(task_ids[0], "afterwards") as session:
        assert session.execute("print(6 * 7)").output.strip() == "42"


def test_a_forged_output_is_shortened(pool: BlockingPool, task_ids: list[str]) -> None:
    with pool.open(task_ids[0], "forged", LIMITS) as session:
        observation = session.execute(forge(ANSWER | {"output": "begin" + "x" * 100_000}))
        assert observation.output.startswith("begin")
        assert len(observation.output) <= LIMITS.output_chars
        assert observation.truncated


def test_hoarded_memory_is_bounded_and_costs_at_most_the_episode(pool: BlockingPool, task_ids: list[str]) -> None:
    hoard = """hoard = []
try:
    while len(hoard) < 1 << 14: hoard.append(bytearray(1 << 16))
    print("a gibibyte")
except MemoryError: pass"""
    reason = None
    with pool.open(task_ids[0], "hoard", replace(LIMITS, memory_gib=0.6)) as session:
        try:
            assert "a gibibyte" not in session.execute(hoard).output
            session.execute("print(apis.supervisor.show_profile())")
        except EngineError as failure:
            reason = failure.end_reason
    # Whether what is left suffices, what comes to grief first, and whether it says so or hangs, is chance.
    assert reason in (None, "limit:memory", "limit:execute_seconds", "env_error")
    with pool.open(task_ids[1], "after-the-hoard", LIMITS) as session:
        assert session.execute("print(6 * 7)").output.strip() == "42"


def test_an_episode_has_an_end(pool: BlockingPool, task_ids: list[str]) -> None:
    with pool.open(task_ids[0], "long", EngineLimits(episode_seconds=2.0)) as session:
        assert not session.execute("print(1)").error
        with pytest.raises(EngineError) as failure:
            # In C, so that AppWorld's own interruption cannot help.
            session.execute("sum(range(10**12))")
        assert failure.value.end_reason == "limit:episode_seconds"
