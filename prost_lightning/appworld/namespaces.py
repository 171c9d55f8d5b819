"""Linux namespaces and mounts through libc, without privileges: a process tree, network and root directory of its own.

Runs inside a worker process only. bubblewrap does the same for a program that it starts; here a process that was forked
with AppWorld loaded is confined, which no program that starts another one can do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
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
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_ATTR_RDONLY = 0x1
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522

_DEVICES = ("null", "zero", "random", "urandom")


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
    """Makes this process the new parent of its orphaned descendants, so that it can wait for them; macOS cannot."""
    if IS_LINUX:
        _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def forbid_inspection() -> None:
    """Keeps other processes of this user from reading or tracing this one."""
    if IS_LINUX:
        _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def drop_privileges() -> None:
    """Gives up every capability, for good."""
    if IS_LINUX:
        _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        nothing = (ctypes.c_uint32 * 6)()
        _call("capset", header, nothing)


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


def nested_namespaces() -> None:
    """As :func:`new_namespaces`, for a process that is inside them already and still holds their privileges."""
    _call("unshare", _CLONE_NEWPID | _CLONE_NEWNS | _CLONE_NEWIPC)


def check_helper(status: int, what: str) -> None:
    """Checks that a helper process has isolated the process that it was made for.

    Args:
        status: How it ended, as ``os.waitpid`` tells.
        what: Whom it was to isolate, for the error.

    Raises:
        ConnectionAbortedError: It was killed meanwhile; another one may be luckier.
        OSError: The system does not let it.
    """
    if os.WIFSIGNALED(status):
        raise ConnectionAbortedError(f"{what} was lost while it was isolated")
    if status:
        raise OSError(f"{what} could not be isolated")


def new_root(
    *, visible: Sequence[Path], hidden: Iterable[Path], kept: Sequence[Path], writable: Path | None, scratch: Path
) -> None:
    """Gives this process a root file system that holds only what is named, read-only, and a new ``/proc``.

    Only in the first process of new namespaces.

    Args:
        visible: Directories and files that shall be seen; what is missing is left out.
        hidden: What shall be covered although it lies in something visible.
        kept: What shall be seen even if it lies in something hidden.
        writable: The one directory of these that can be written to.
        scratch: Becomes an empty file system in memory, of some MiB, writable too.

    Raises:
        OSError: The kernel does not allow it.
    """
    _mount("none", Path("/"), "", _MS_REC | _MS_PRIVATE)
    # Opened before the new root covers the scratch directory, which may lie above them.
    shown, later = _Sources(visible), _Sources([*kept, *([writable] if writable else [])])
    devices = _Sources([Path("/dev") / name for name in _DEVICES])
    root = scratch
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,nr_inodes=4k,mode=755")
    shown.bind(root)
    for path in (path.resolve() for path in hidden):
        covered = _below(root, path)
        if covered.is_dir() and not any(source.is_relative_to(path) for source in shown.paths):
            _mount("tmpfs", covered, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,nr_inodes=1k,mode=755")
    later.bind(root)
    devices.bind(root)
    _below(root, scratch).mkdir(parents=True, exist_ok=True)
    _mount("tmpfs", _below(root, scratch), "tmpfs", _MS_NOSUID | _MS_NODEV, "size=16m,nr_inodes=4k,mode=700")
    process_directory = root / "proc"
    process_directory.mkdir(exist_ok=True)
    with suppress(PermissionError):  # Some containers forbid a new one; then there is none.
        _mount("proc", process_directory, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _set_mount(root, read_only=True, recursive=True)
    os.chdir(root)
    _call("syscall", ctypes.c_long(_SYS_PIVOT_ROOT[os.uname().machine]), b".", b".")
    _call("umount2", b".", _MNT_DETACH)
    for directory in (writable, scratch):
        if directory is not None:
            _set_mount(directory, read_only=False, recursive=False)
    os.chdir(scratch)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


class _Sources:
    """Directories and files that can still be mounted elsewhere after something has covered them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._links = {path: path.resolve() for path in paths if path.exists() and path != path.resolve()}
        everything = {path.resolve() for path in paths if path.exists()}
        # Only the outermost: what lies below it comes along.
        self.paths = [path for path in sorted(everything) if not everything & set(path.parents)]
        self._handles = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in self.paths}

    def bind(self, root: Path) -> None:
        """Shows them below another root, once, with links where one of their names was a link."""
        for path, handle in self._handles.items():
            target = _below(root, path)
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            _mount(f"/proc/self/fd/{handle}", target, "", _MS_BIND | _MS_REC)
            os.close(handle)
        for path, resolved in self._links.items():
            target = _below(root, path)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(resolved)
