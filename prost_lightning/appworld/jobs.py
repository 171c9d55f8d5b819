"""What a forked child of the worker process does: it plays one episode, or judges one, and ends.

An episode takes two processes. The engine's holds the databases and answers API calls; a child of its own, which holds
nothing, runs the model's code (see :mod:`prost_lightning.appworld.code_process`). Children end with ``os._exit``, since
AppWorld makes an orderly exit take seconds. While a world is open, Python's clocks stand still in its process: no
timing is done here.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import traceback
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from prost_lightning.appworld import namespaces, sandbox
from prost_lightning.appworld.channel import Channel, ChannelClosedError
from prost_lightning.appworld.gateway import CodeProcessError, Gateway
from prost_lightning.appworld.sub_task_checks import check_sub_tasks
from prost_lightning.appworld.truncation import truncate

if TYPE_CHECKING:
    from appworld import AppWorld

#: The statements that AppWorld records (``DBChangesTracker`` in its ``model_lib``).
_CHANGES = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP")


def run(job: dict[str, Any], channel: Channel, *, missing: Collection[str]) -> None:
    """Does one job in this process, which then ends.

    Args:
        job: What to do; see :mod:`prost_lightning.appworld.worker`.
        channel: To the training process.
        missing: Protections to do without, of :data:`prost_lightning.appworld.protections.PROTECTIONS`.
    """
    try:
        os.setsid()
        if job["kind"] == "episode":
            _play(channel, job, missing)
        else:
            _confine(job, missing, writable=None)
            _evaluate(channel, job)
    except ChannelClosedError:
        pass  # The training process has no more use for this episode.
    except CodeProcessError as error:
        _send_failure(channel, error.reason, str(error), lost=error.lost)
    except BaseException as error:
        report_failure(channel, error)
    finally:
        os._exit(0)


def report_failure(channel: Channel, error: BaseException) -> None:
    """Tells why this process ends, if anyone still listens."""
    os.write(2, traceback.format_exc()[-4000:].encode(errors="replace"))
    # A broken connection is to a process of ours that vanished.
    _send_failure(channel, *_reason(error), lost=isinstance(error, ConnectionError))


def _reason(error: BaseException) -> tuple[str, str]:
    out_of_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    detail = "".join(traceback.format_exception_only(error)).strip().rpartition("\n")[2]
    return "limit:memory" if out_of_memory else "env_error", detail


def _send_failure(channel: Channel, reason: str, detail: str, *, lost: bool = False) -> None:
    with suppress(ChannelClosedError):
        channel.send({"failed": reason, "detail": detail[:500], "lost": lost})


def _confine(job: dict[str, Any], missing: Collection[str], writable: Path | None) -> None:
    """Narrows the trusted side of a job."""
    limits = job["limits"]
    if "namespaces" not in missing:
        kept = [Path(path) for path in job["kept"]]
        sandbox.confine_engine(hidden=[Path(path) for path in job["hidden"]], kept=kept, writable=writable)
    namespaces.die_with_parent()
    namespaces.forbid_inspection()
    sandbox.limit_resources(
        memory_gib=limits["memory_gib"],
        cpu_seconds=limits["episode_seconds"],
        file_size_mib=limits["file_size_mib"],
    )


def _play(channel: Channel, job: dict[str, Any], missing: Collection[str]) -> None:
    """Opens a world and has executed what comes, until the channel closes."""
    from appworld import AppWorld, environment

    limits = job["limits"]
    output_directory = Path(job["output"])
    output_directory.mkdir(parents=True, exist_ok=True)
    # Before this process narrows its own view, and before it has anything that the code must not see.
    code_channel = _start_code_process(channel, job, missing)
    _confine(job, missing, writable=output_directory)
    # No code runs in this process.
    environment.InteractiveShellEmbed = lambda config: SimpleNamespace(user_ns={}, run_cell=lambda code: None)
    world = AppWorld(task_id=job["task_id"], experiment_name=job["experiment"], load_ground_truth=False)
    gateway = Gateway(world, code_channel)
    gateway.wait_until_ready()
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
    completed = gave_up = False
    while True:
        code = channel.receive()["code"]
        served = gateway.served
        outcome = gateway.execute(code)
        output = truncate(outcome.output, limits["output_chars"])
        world.environment_io.append({"input": code.strip(), "output": output.rstrip()})
        world.save_logs()
        if gateway.served > served:
            world._save_state(world.output_db_home_path_on_disk)
        if gateway.completing:
            completed = bool(world.task_completed())
            gave_up = completed and _task_status(world) == "fail"
        world.requester.reset_request_count()
        channel.send(
            {
                "output": output,
                "error": output.startswith("Execution failed."),
                "truncated": outcome.truncated or output != outcome.output,
                "completed": completed,
                "gave_up": gave_up,
            }
        )


def _start_code_process(channel: Channel, job: dict[str, Any], missing: Collection[str]) -> Channel:
    """Forks the process that runs the model's code.

    With namespaces it is the first of a process tree of its own: a helper makes that, forks it and is gone. It becomes
    a child of this process, which is the first of the tree around it, and cannot outlive it.

    Returns:
        The channel to it.
    """
    specification = Path(os.environ["APPWORLD_ROOT"], "data", "tasks", job["task_id"], "specs.json")
    now = json.loads(specification.read_bytes())["datetime"]
    ours, theirs = socket.socketpair()
    process = os.fork()
    if process:
        theirs.close()
        if "namespaces" not in missing:
            namespaces.check_helper(os.waitpid(process, 0)[1], "the code's process")
        return Channel(ours)
    try:
        if "namespaces" not in missing:
            namespaces.nested_namespaces()
            if os.fork():
                os._exit(0)
        else:
            namespaces.die_with_parent()
        ours.close()
        channel.close()
        _run_code(theirs, job, missing, now)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _run_code(connection: socket.socket, job: dict[str, Any], missing: Collection[str], now: str) -> None:
    """Confines this process and runs a model's code in it, until the engine's process closes the connection."""
    from prost_lightning.appworld import code_process

    limits = job["limits"]
    channel = Channel(connection)
    try:
        sandbox.limit_code_resources(memory_gib=limits["memory_gib"], cpu_seconds=limits["episode_seconds"])
        sandbox.confine_code(
            hidden=[Path(path) for path in job["hidden"]], missing=missing, kept_descriptor=connection.fileno()
        )
        code_process.serve(
            channel, now=now, execute_seconds=limits["execute_seconds"], output_chars=limits["output_chars"]
        )
    except ChannelClosedError:
        pass
    except BaseException as error:
        # Everything: AppWorld lets a KeyboardInterrupt out of a model's code, and its state cannot be trusted after it.
        _send_failure(channel, *_reason(error))


def _task_status(world: AppWorld) -> str:
    """What the agent said when it completed the task: ``success`` or ``fail``."""
    return str(world.requester.request("supervisor", "show_active_task", track=False)["status"])


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

    They are SQL statements that the evaluator replays. Where the operating system cannot keep a model's code from the
    directory, it could have written any: one that attaches another database file could read or write it.

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
