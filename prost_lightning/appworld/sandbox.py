"""What keeps code that a model wrote away from the machine and from the engine: which protections there are, and how.

Runs inside a worker process only. ``docs/threat_model.md`` says what each protection is for.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sysconfig
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import prost_lightning
from prost_lightning.appworld import namespaces, system_calls
from prost_lightning.appworld.namespaces import IS_LINUX

# Libraries that Python's extension modules load, how they are found, and what the time zone is.
_SYSTEM_FILES = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"),
    *("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo"),
)
_OPEN_FILES = 64
_SCRATCH_FILE_MIB = 16


def missing_protections(unwanted: Collection[str] = ()) -> dict[str, str]:
    """Tries what the operating system offers, in children that are thrown away.

    Args:
        unwanted: Protections to do without.

    Returns:
        Why not, for each of :data:`~prost_lightning.appworld.protections.PROTECTIONS` that cannot be had.
    """
    tests = {"namespaces": _try_namespaces, "landlock": _try_landlock, "seccomp": system_calls.why_not}
    reasons = {
        name: "not asked for" if name in unwanted else test() if IS_LINUX else "only Linux has it"
        for name, test in tests.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _try_namespaces() -> str:
    reading, writing = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            namespaces.new_namespaces()
            first = os.fork()
            if first == 0:
                namespaces.new_root(
                    visible=python_files(), hidden=[], kept=[], writable=None, scratch=Path(os.environ["TMPDIR"])
                )
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
        except (OSError, KeyError) as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as reasons:
        reason = reasons.read()
    failed = os.waitpid(helper, 0)[1] != 0
    return (reason or "the kernel refused") if failed else ""


def _try_landlock() -> str:
    from landlock import SyscallError, landlock_abi_version

    try:
        landlock_abi_version()
    except SyscallError as error:
        return error.strerror or "the kernel refused"
    return ""


def python_files() -> list[Path]:
    """All that a process with AppWorld loaded still has to read: Python, packages, system libraries.

    A user's project is not among them, even if it is installed in place: what a worker needs of it is loaded.
    """
    import appworld

    search_path = [Path(path) for path in os.environ["PYTHONPATH"].split(os.pathsep)]
    return [
        *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(path for path in search_path if path.name in ("site-packages", "dist-packages", "lib-dynload")),
        Path(appworld.__file__).parent,
        *(Path(name) for name in _SYSTEM_FILES),
    ]


def confine_engine(*, hidden: Iterable[Path], kept: Sequence[Path], writable: Path | None) -> None:
    """Narrows what the trusted side of a job can reach, in case code finds a way to make it misbehave.

    Only in the first process of new namespaces.

    Args:
        hidden: Directories that shall not be seen whatever else is.
        kept: What it needs besides Python.
        writable: The directory that it saves to.
    """
    namespaces.new_root(
        visible=python_files(),
        hidden=[*hidden, _own_sources()],
        kept=kept,
        writable=writable,
        scratch=Path(os.environ["TMPDIR"]),
    )
    namespaces.drop_privileges()


def confine_code(*, hidden: Iterable[Path], missing: Collection[str], kept_descriptor: int) -> None:
    """Takes from this process, which is about to run a model's code, everything but computing and one connection.

    Args:
        hidden: Directories that shall not be seen whatever else is.
        missing: Protections to do without.
        kept_descriptor: The connection; all other descriptors are closed.
    """
    scratch = Path(os.environ["TMPDIR"])
    if "namespaces" not in missing:
        namespaces.new_root(
            visible=python_files(), hidden=[*hidden, _own_sources()], kept=[], writable=None, scratch=scratch
        )
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(3, kept_descriptor)
    os.closerange(kept_descriptor + 1, 1 << 16)
    namespaces.drop_privileges()
    if "landlock" not in missing:
        _allow_files(readable=python_files(), writable=scratch)
    if "seccomp" not in missing:
        system_calls.allow_only_computing()


def _own_sources() -> Path:
    # The generator of the worlds is in there: with it and the seed, one could make their solutions anew.
    return Path(prost_lightning.__file__).resolve().parent


def _allow_files(*, readable: Iterable[Path], writable: Path) -> None:
    """Refuses this process to open any other file or directory, for good."""
    from landlock import FSAccess, Ruleset

    # The library takes an error number that an earlier call left for one of its own.
    ctypes.set_errno(0)
    rules = Ruleset()
    existing = [path for path in readable if path.exists()]
    rules.allow(*(path for path in existing if path.is_dir()), rules=FSAccess.READ_FILE | FSAccess.READ_DIR)
    rules.allow(*(path for path in existing if path.is_file()), rules=FSAccess.READ_FILE)
    rules.allow(os.devnull, rules=FSAccess.READ_FILE | FSAccess.WRITE_FILE)
    rules.allow("/dev/urandom", rules=FSAccess.READ_FILE)
    if Path("/proc/self").exists():
        rules.allow("/proc/self", rules=FSAccess.READ_FILE | FSAccess.READ_DIR)
    rules.allow(writable)
    rules.apply()
    os.close(rules._fd)


def limit_resources(*, memory_gib: float, cpu_seconds: float, file_size_mib: int) -> None:
    """Sets hard limits on this process.

    Args:
        memory_gib: Address space, in GiB; beyond it an allocation is a MemoryError.
        cpu_seconds: Processor time, in seconds; beyond it the kernel kills.
        file_size_mib: Largest file that can be written, in MiB.
    """
    _set_limits(
        {
            resource.RLIMIT_AS: int(memory_gib * 2**30),
            resource.RLIMIT_CPU: int(cpu_seconds) + 1,
            resource.RLIMIT_FSIZE: file_size_mib * 2**20,
            resource.RLIMIT_CORE: 0,
        }
    )


def limit_code_resources(*, memory_gib: float, cpu_seconds: float) -> None:
    """Sets hard limits on this process, which is about to run a model's code: it can start no other, for instance.

    Args:
        memory_gib: As for :func:`limit_resources`.
        cpu_seconds: As for :func:`limit_resources`.
    """
    limit_resources(memory_gib=memory_gib, cpu_seconds=cpu_seconds, file_size_mib=_SCRATCH_FILE_MIB)
    wanted = {
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_MEMLOCK: 0,
        # Processes and threads of this user, so no more of them. It does not bind root.
        resource.RLIMIT_NPROC: 0,
    }
    if IS_LINUX:
        wanted[resource.RLIMIT_MSGQUEUE] = 0
    _set_limits(wanted)


def _set_limits(wanted: dict[int, int]) -> None:
    for kind, value in wanted.items():
        _, ceiling = resource.getrlimit(kind)
        if ceiling != resource.RLIM_INFINITY:
            value = min(value, ceiling)
        # macOS knows RLIMIT_AS but refuses to lower it: there the deadline is what stops a memory bomb.
        if IS_LINUX or kind != resource.RLIMIT_AS:
            resource.setrlimit(kind, (value, value))
