"""What a forked child of the worker process does: it plays one episode, or judges one, and ends.

A child ends with ``os._exit``, since AppWorld makes an orderly exit take seconds. While a world is open, Python's
clocks stand still in its process: no timing is done here.
"""

from __future__ import annotations

import errno
import json
import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prost_lightning.appworld import sandbox
from prost_lightning.appworld.channel import Channel, ChannelClosedError
from prost_lightning.appworld.sub_task_checks import check_sub_tasks

if TYPE_CHECKING:
    from appworld import AppWorld
    from appworld.requester import Requester

#: The statements that AppWorld records (``DBChangesTracker`` in its ``model_lib``).
_CHANGES = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP")


def run(job: dict[str, Any], channel: Channel, *, isolated: bool) -> None:
    """Does one job in this process, which then ends."""
    try:
        os.setsid()
        limits = job["limits"]
        writable = None
        if job["kind"] == "episode":
            writable = Path(job["output"])
            writable.mkdir(parents=True, exist_ok=True)
        if isolated:
            sandbox.confine(
                hidden=[Path(path) for path in job["hidden"]],
                kept=[Path(path) for path in job["kept"]] + ([writable] if writable else []),
                writable=writable,
                temporary=Path(os.environ["TMPDIR"]),
            )
        sandbox.die_with_parent()
        sandbox.limit_resources(
            memory_gib=limits["memory_gib"],
            cpu_seconds=limits["episode_seconds"],
            file_size_mib=limits["file_size_mib"],
            processes=limits["processes"] if isolated else 0,
        )
        if job["kind"] == "episode":
            _play(channel, job, limits)
        else:
            _evaluate(channel, job)
    except ChannelClosedError:
        pass  # The training process has no more use for this episode.
    except BaseException as error:
        # Everything: AppWorld lets a KeyboardInterrupt out of a model's code, and its state cannot be trusted after it.
        out_of_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
        report_failure(channel, "limit:memory" if out_of_memory else "env_error")
    finally:
        os._exit(0)


def report_failure(channel: Channel, reason: str) -> None:
    """Tells why this process ends, if anyone still listens."""
    detail = traceback.format_exc()
    os.write(2, detail[-4000:].encode(errors="replace"))
    with suppress(ChannelClosedError):
        channel.send({"failed": reason, "detail": detail.strip().rpartition("\n")[2][:500]})


def _play(channel: Channel, job: dict[str, Any], limits: dict[str, Any]) -> None:
    """Opens a world and executes what it is sent, until the channel closes."""
    from appworld import AppWorld

    world = AppWorld(
        task_id=job["task_id"],
        experiment_name=job["experiment"],
        load_ground_truth=False,
        timeout_seconds=max(1, round(limits["execute_seconds"])),
    )
    record_statuses(world.requester)
    task, supervisor = world.task, world.task.supervisor
    channel.send(
        {
            "task_id": task.id,
            "instruction": task.instruction,
            "first_name": supervisor.first_name,
            "last_name": supervisor.last_name,
            "email": supervisor.email,
            "phone_number": supervisor.phone_number,
            "datetime": task.datetime.isoformat(),
            "app_descriptions": task.app_descriptions,
        }
    )
    while True:
        output = str(world.execute(channel.receive()["code"]))
        shown = truncate(output, limits["output_chars"])
        # AppWorld writes its whole log anew after every execution: do not let one long output grow all of them.
        world.environment_io[-1]["output"] = shown
        completed = bool(world.task_completed())
        channel.send(
            {
                "output": shown,
                "error": output.startswith("Execution failed."),
                "truncated": shown != output,
                "completed": completed,
                "gave_up": completed and _task_status(world) == "fail",
            }
        )


def record_statuses(requester: Requester) -> None:
    """Adds the response's HTTP status to each request that AppWorld logs, since its own log does not tell success.

    Args:
        requester: The requester of an open world; its ``logs/api_calls.jsonl`` gets a field ``status``.
    """
    tracker, check_response = requester.request_tracker, requester.raise_if_failure
    log = tracker.add_request
    unanswered: list[dict[str, Any]] = []

    def add_request(*arguments: Any, **named: Any) -> None:
        before = len(tracker.requests)
        log(*arguments, **named)
        unanswered[:] = tracker.requests[before:]

    def raise_if_failure(response: Any, *arguments: Any, **named: Any) -> None:
        while unanswered:
            unanswered.pop()["status"] = response.status_code
        check_response(response, *arguments, **named)

    tracker.add_request, requester.raise_if_failure = add_request, raise_if_failure


def _task_status(world: AppWorld) -> str:
    """What the agent said when it completed the task: ``success`` or ``fail``."""
    return str(world.requester.request("supervisor", "show_active_task", track=False)["status"])


def truncate(text: str, limit: int) -> str:
    """Shortens a text by cutting out its middle: the beginning shows what it is, the end holds result or error.

    Args:
        text: Any text.
        limit: Longest result in characters, the marker that replaces the middle included.

    Returns:
        The text itself if it is short enough.
    """
    if len(text) <= limit:
        return text
    marker = f"\n... [{len(text)} characters, middle cut out] ...\n"
    room = max(0, limit - len(marker))
    head = room * 2 // 3
    return (text[:head] + marker + text[len(text) - (room - head) :])[:limit]


def _evaluate(channel: Channel, job: dict[str, Any]) -> None:
    """Judges the saved databases of an episode with AppWorld's own evaluator."""
    from appworld.evaluator import evaluate_task

    check_saved_changes(Path(job["output"]) / "dbs")
    tracker = evaluate_task(task_id=job["task_id"], experiment_name=job["experiment"], save_report=False)
    channel.send(
        {
            "success": bool(tracker.success),
            "passes": tracker.pass_count,
            "failures": [failure["requirement"] for failure in tracker.failures],
            "sub_tasks": msgspec.to_builtins(
                check_sub_tasks(Path(job["root"]), job["task_id"], Path(job["output"]), solved=bool(tracker.success))
            ),
        }
    )


def check_saved_changes(directory: Path) -> None:
    """Checks that an episode's saved databases are what AppWorld writes.

    They are SQL statements that the evaluator replays, and the episode's process could have written any: one that
    attaches another database file could read or write it.

    Args:
        directory: The episode's ``dbs``.

    Raises:
        ValueError: They are missing, or something else.
    """
    changes = sorted(directory.glob("*.jsonl"))
    if not changes:
        raise ValueError("the episode saved no state")
    for path in changes:
        if directory.is_symlink() or path.is_symlink() or not path.is_file():
            raise ValueError(f"{path.name} is not a plain file")
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip() and not str(json.loads(line)[0]).startswith(_CHANGES):
                    raise ValueError(f"{path.name}:{number} is not a change of data")
