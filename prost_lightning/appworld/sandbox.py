"""What keeps code that a model wrote away from the rest of the machine: resource limits and Linux namespaces.

Runs inside a worker process only. Everything here uses the kernel's own, unprivileged means through libc, so that
nothing has to be installed. Where namespaces are not to be had (macOS, most containers), resource limits and the
process group remain.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

IS_LINUX = sys.platform.startswith("linux")

# From <sched.h>, <sys/mount.h>, <sys/prctl.h>, <linux/mount.h>, <fcntl.h>; the same on every architecture.
_CLONE_NEWNS = 0x00020000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_SYS_MOUNT_SETATTR = 442
_MOUNT_ATTR_RDONLY = 0x1
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522


class _MountAttributes(ctypes.Structure):
    """``struct mount_attr`` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _call(name: str, *arguments: Any) -> None:
    """Calls a libc function that returns 0 on success, and raises OSError otherwise."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    _call("mount", source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())


def _set_mount(target: Path, *, read_only: bool, recursive: bool) -> None:
    attributes = _MountAttributes()
    if read_only:
        attributes.attr_set = _MOUNT_ATTR_RDONLY
    else:
        attributes.attr_clr = _MOUNT_ATTR_RDONLY
    _call(
        "syscall",
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent dies; macOS cannot, there a worker sees its socket close."""
    if IS_LINUX:
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Makes this process the new parent of its orphaned descendants, so that it can wait for them."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def limit_resources(*, memory_gib: float, cpu_seconds: float, file_size_mib: int, processes: int) -> None:
    """Sets hard limits on this process and all that it starts.

    Args:
        memory_gib: Address space of one process, in GiB; beyond it an allocation is a MemoryError.
        cpu_seconds: Processor time of one process, in seconds; beyond it the kernel kills.
        file_size_mib: Largest file that can be written, in MiB.
        processes: Processes and threads at once. The kernel counts them for each user namespace, so this is set only
            inside one; it does not bind root.
    """
    wanted = {
        resource.RLIMIT_AS: int(memory_gib * 2**30),
        resource.RLIMIT_CPU: int(cpu_seconds) + 1,
        resource.RLIMIT_FSIZE: file_size_mib * 2**20,
        resource.RLIMIT_CORE: 0,
    }
    if processes:
        wanted[resource.RLIMIT_NPROC] = processes
    for kind, value in wanted.items():
        _, ceiling = resource.getrlimit(kind)
        if ceiling != resource.RLIM_INFINITY:
            value = min(value, ceiling)
        # macOS knows RLIMIT_AS but refuses to lower it: there the deadline is what stops a memory bomb.
        if IS_LINUX or kind != resource.RLIMIT_AS:
            resource.setrlimit(kind, (value, value))


def new_namespaces() -> None:
    """Moves this process into namespaces of its own, without network; its next child starts a new process tree.

    Raises:
        OSError: The kernel does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWNS | _CLONE_NEWIPC)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def confine(*, hidden: Iterable[Path], kept: Iterable[Path], writable: Path | None, temporary: Path | None) -> None:
    """Narrows the file system and gives up all privileges. Only in the first process of :func:`new_namespaces`.

    Args:
        hidden: Directories that shall look empty.
        kept: What shall be seen nevertheless although it lies in a hidden directory.
        writable: The one directory that can be written to; all else becomes read-only.
        temporary: A directory that becomes an empty file system in memory, of some MiB, writable too.

    Raises:
        OSError: The kernel does not allow it.
    """
    _mount("none", Path("/"), "", _MS_REC | _MS_PRIVATE)
    if writable is not None:
        _mount(str(writable), writable, "", _MS_BIND | _MS_REC)
    working_directory = Path.cwd()
    for covered in hidden:
        _hide(covered.resolve(), [path.resolve() for path in kept if path.exists()])
    if temporary is not None:
        _mount("tmpfs", temporary, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=16m,mode=700")
    _mount("proc", Path("/proc"), "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _set_mount(Path("/"), read_only=True, recursive=True)
    for directory in (writable, temporary):
        if directory is not None:
            _set_mount(directory, read_only=False, recursive=False)
    os.chdir(working_directory)
    _drop_privileges()


def _hide(directory: Path, kept: list[Path]) -> None:
    """Covers a directory with an empty file system, through which only what is kept shows."""
    if directory == directory.parent or not directory.is_dir() or directory in kept:
        return
    inside = [path for path in kept if path.is_relative_to(directory)]
    # Only the outermost: what lies below it comes along.
    inside = [path for path in inside if not any(path != other and path.is_relative_to(other) for other in inside)]
    # Opened before they are covered; afterwards they can be reached through their descriptors only.
    handles = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in inside}
    _mount("tmpfs", directory, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path, handle in handles.items():
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        _mount(f"/proc/self/fd/{handle}", path, "", _MS_BIND | _MS_REC)
        os.close(handle)


def _drop_privileges() -> None:
    """Gives up every capability, for good."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _call("capset", header, nothing)
