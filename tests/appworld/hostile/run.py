"""Plays the hostile snippets with a whole pool inside namespaces of its own, so that no escape reaches the machine.

``python run.py WORLD RESULT [--all]`` writes what happened as JSON: one entry a snippet, and the figures of the run.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prost_lightning.appworld import namespaces
from prost_lightning.appworld.blocking import BlockingPool, BlockingSession
from prost_lightning.appworld.data import load_script, load_task_ids
from prost_lightning.appworld.engine import EngineError, EngineLimits
from prost_lightning.appworld.evaluate import Evaluator
from prost_lightning.appworld.pool import AppWorldPool

HERE = Path(__file__).resolve().parent
# Patient with a busy machine, except where using up time is what a snippet is about.
PATIENT = EngineLimits(execute_seconds=30.0, grace_seconds=5.0)
SHORT = EngineLimits(execute_seconds=1.0, grace_seconds=0.5)
CANARY_PARTS = ("canary-of-the", "-hostile-corpus-5f1c")
CANARY = "".join(CANARY_PARTS)
SYSTEM_CALLS = {
    "keyctl", "fsopen", "open_by_handle_at", "vfork", "clone", "clone3", "memfd_create", "process_vm_readv",
    "pidfd_open", "pidfd_getfd", "socket", "io_uring_setup", "mq_open", "memfd_secret", "userfaultfd", "tgkill",
    "tkill", "rt_sigqueueinfo", "capset", "bpf", "perf_event_open", "init_module",
}  # fmt: skip


def main() -> None:
    world, result, everything = Path(sys.argv[1]), Path(sys.argv[2]), "--all" in sys.argv
    handle = os.open(result, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    namespaces.new_namespaces()
    inside = os.fork()
    if inside:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1]) & 0xFF)
    # The first process of the tree only buries; the one that trains must have a number that no episode's has.
    playing = os.fork()
    if playing:
        ended = 0
        while ended != playing:
            ended, code = os.wait()
        os._exit(os.waitstatus_to_exitcode(code) & 0xFF)
    status = 1
    try:
        namespaces.die_with_parent()
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))
        scratch = _small_scratch([Path(sys.prefix), HERE, Path(namespaces.__file__).parents[2], world])
        found = _Corpus(world, scratch).play(everything)
        os.write(handle, json.dumps(found).encode())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _small_scratch(needed: list[Path]) -> Path:
    """Everything that is written lands in memory of a fixed size; a loopback that exists outside the episodes only.

    What is needed stays where it is, even below the directory that becomes memory.
    """
    covered = {
        path: os.open(path, os.O_PATH) for path in (path.absolute() for path in needed) if path.is_relative_to("/tmp")
    }
    libc_mount, flags = namespaces._mount, namespaces._MS_NOSUID | namespaces._MS_NODEV
    libc_mount("none", Path("/"), "", namespaces._MS_REC | namespaces._MS_PRIVATE)
    libc_mount("tmpfs", Path("/dev/shm"), "tmpfs", flags, "size=8m,mode=1777")
    libc_mount("tmpfs", Path("/tmp"), "tmpfs", flags, "size=512m,mode=1777")
    libc_mount("proc", Path("/proc"), "proc", flags)
    for path, descriptor in sorted(covered.items()):
        if not path.exists():  # A directory comes before what is below it.
            path.mkdir(parents=True)
            libc_mount(f"/proc/self/fd/{descriptor}", path, "", namespaces._MS_BIND | namespaces._MS_REC)
    with socket.socket() as any_socket:
        request = struct.pack("16sh", b"lo", 0x1 | 0x40)
        fcntl.ioctl(any_socket, 0x8914, request)
    os.environ["TMPDIR"] = "/tmp"
    return Path("/tmp")


def solve(session: BlockingSession, world: Path) -> None:
    """Plays a task's own solution."""
    script = load_script(world, session.task.task_id)
    for step in script.steps:
        session.execute(step.code)
    answer = "" if script.answer is None else f"answer={script.answer!r}, "
    session.execute(f"apis.supervisor.complete_task({answer}status='success')")


class _Listener(threading.Thread):
    """Counts what reaches a socket outside the episodes."""

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(daemon=True)
        self._listening = listening
        self.reached = 0
        self.start()

    def run(self) -> None:
        while True:
            if self._listening.type == socket.SOCK_DGRAM:
                self._listening.recv(100)
            else:
                self._listening.accept()[0].close()
            self.reached += 1


class _Corpus:
    def __init__(self, world: Path, scratch: Path) -> None:
        self.outside = scratch / "outside"
        self.outside.mkdir()
        self.home = scratch / "user"
        self.home.mkdir()
        self.output = scratch / "output"
        self.world = scratch / "world"
        shutil.copytree(world / "data", self.world / "data")
        self.task, self.other, *_ = load_task_ids(self.world, "dev")
        for path in (self.outside / "canary.txt", self.home / ".netrc", self.world / "trajectories.jsonl"):
            path.write_text(CANARY)
        for directory in (self.world / "data" / "tasks").iterdir():
            (directory / "ground_truth" / "canary.txt").write_text(CANARY)
            solution = directory / "ground_truth" / "solution.py"
            solution.write_text(f"# {CANARY}\n" + (solution.read_text() if solution.exists() else ""))
        os.environ |= {"WANDB_API_KEY": CANARY, "HF_TOKEN": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}
        os.environ["HOME"] = str(self.home)
        sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = sockets[0].getsockname()[1]
        for kind, address in (
            (socket.SOCK_STREAM, str(self.outside / "socket")),
            (socket.SOCK_STREAM, "\0prost-canary"),
            (socket.SOCK_DGRAM, "\0prost-canary-datagrams"),
        ):
            made = socket.socket(socket.AF_UNIX, kind)
            made.bind(address)
            if kind == socket.SOCK_STREAM:
                made.listen()
            sockets.append(made)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", self.port))
        self.listeners = [_Listener(one) for one in (*sockets, udp)]
        self.bystander = subprocess.Popen(["sleep", "3600"])

    def play(self, everything: bool) -> dict[str, Any]:
        started = time.monotonic()
        snippets: list[dict[str, Any]] = []
        health: list[dict[str, Any]] = []
        with BlockingPool(AppWorldPool(self.world, self.output, PATIENT)) as pool:
            missing = pool.missing_protections
            ready = time.monotonic()
            for path in sorted(HERE.glob("*.toml")):
                chosen = [
                    snippet
                    for snippet in tomllib.loads(path.read_text())["snippet"]
                    if everything or not snippet.get("slow", False)
                ]
                begun = time.monotonic()
                for played in self._group(pool, path.stem, chosen):
                    snippets.append(played)
                    if played["escapes"] or bool(played["reason"]) != played["ends"]:
                        print(played, file=sys.stderr, flush=True)
                print(path.stem, len(chosen), f"{time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
                with pool.open(self.task, f"health-{path.stem}") as session:
                    well = session.execute("print(apis.supervisor.show_profile()['email'], 6 * 7)")
                health.append(
                    {
                        "group": path.stem,
                        "seconds": time.monotonic() - begun,
                        "well": well.output.strip() == f"{session.task.email} 42",
                    }
                )
            with pool.open(self.other, "solved") as session:
                solve(session, self.world)
        with Evaluator(self.world, self.output) as evaluator:
            solved = evaluator.evaluate("solved", self.other).success
            untouched = evaluator.evaluate("files-0", self.task).success
        return {
            "snippets": snippets,
            "health": health,
            "missing": missing,
            "solved_afterwards": solved,
            "hostile_episode_passed": untouched,
            "start_seconds": ready - started,
            "seconds": time.monotonic() - ready,
        }

    def _group(self, pool: BlockingPool, group: str, snippets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        session: BlockingSession | None = None
        number = 0
        for snippet in snippets:
            if session is None:
                session = self._open(pool, f"{group}-{number}", SHORT if group == "time" else PATIENT)
                number += 1
            before = self._surroundings()
            begun = time.monotonic()
            reason, output, completed = "", "", False
            try:
                observation = session.execute(snippet["code"])
                output, completed = observation.output, observation.completed
            except EngineError as error:
                reason, session = error.end_reason, None
            escapes = [f"output: {output[:300]}"] * (CANARY in output or "ESCAPED" in output)
            escapes += ["the task was completed"] * completed
            escapes += [f"{what} changed" for what, state in self._surroundings().items() if before[what] != state]
            yield {
                "group": group,
                "name": snippet["name"],
                "escapes": escapes,
                "reason": reason,
                "ends": snippet.get("ends", False),
                "shown": snippet.get("shows", "") in output,
                "output": output[:200],
                "seconds": time.monotonic() - begun,
            }
            # It leaves the channel out of step.
            if session is not None and snippet.get("alone", False):
                session.close()
                session = None
        if session is not None:
            session.close()

    def _open(self, pool: BlockingPool, experiment: str, limits: EngineLimits) -> BlockingSession:
        from seccompy import syscall_nr

        session = pool.open(self.task, experiment, limits)
        numbers = {}
        for name in SYSTEM_CALLS:
            try:
                numbers[name] = syscall_nr(name)
            except ValueError:
                continue
        places = {
            "WORLD": str(self.world),
            "HOME": str(self.home),
            "OUTPUT": str(self.output),
            "EPISODE": str(self.output / "experiments/outputs" / experiment / "tasks" / self.task),
            "OUTSIDE": str(self.outside),
            "PORT": self.port,
            "TRAINER": os.getpid(),
            "TASK": self.task,
            "EMAIL": session.task.email,
            "NUMBERS": numbers,
            # In two parts, so that the search for the whole finds nothing of its own making.
            "CANARY_PARTS": CANARY_PARTS,
        }
        lines = [f"{name} = {value!r}" for name, value in places.items()]
        prepared = session.execute("\n".join([*lines, (HERE / "prelude.py").read_text()]))
        assert not prepared.error, prepared.output
        return session

    def _surroundings(self) -> dict[str, Any]:
        """What nothing that a snippet does may change. The pool itself is at rest between snippets."""
        return {
            "canary": hashlib.sha256((self.outside / "canary.txt").read_bytes()).hexdigest(),
            "files": sorted(
                str(path)
                for directory in (self.outside, self.home, self.world, self.world / "data")
                for path in directory.iterdir()
            )
            + sorted(name for name in os.listdir("/tmp") if not name.startswith("prost_lightning-"))
            + sorted(os.listdir("/dev/shm")),
            "states": {
                path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in self.output.glob("experiments/outputs/health-*/tasks/*/dbs/*.jsonl")
            },
            "connections": [listener.reached for listener in self.listeners],
            "processes": _processes_outside(),
            "bystander": self.bystander.poll(),
            "host": os.uname().nodename,
            "parent": os.getppid(),
            "signals": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        }


def _processes_outside() -> int:
    """Processes that are neither an episode's nor unburied: the pool's own and the bystander."""
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                status = Path(entry.path, "status").read_text()
            except OSError:
                continue
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            # An episode's processes are in process namespaces below this one: they have more numbers than one.
            count += len(fields["NSpid"].split()) == 1 and fields["State"][0] != "Z"
    return count


if __name__ == "__main__":
    main()
