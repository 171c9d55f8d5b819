"""The system calls that a model's code may make: what Python needs to compute, no process, no network, no trace."""

from __future__ import annotations

import errno
import os

_MEMORY = "brk mmap mprotect munmap mremap madvise mincore msync"
_FILES = """
read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range dup dup2 dup3 fcntl flock
open openat openat2 creat stat fstat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat
getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2
link linkat symlink symlinkat truncate ftruncate fsync fdatasync chmod fchmod fchmodat utimensat umask
statfs fstatfs copy_file_range sendfile fadvise64
"""
_WAITING = """
select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2
sched_yield nanosleep clock_nanosleep futex pause
"""
# On connections that are open already: none can be made but pairs with oneself, as an event loop does.
_SOCKETS = "socketpair sendto recvfrom sendmsg recvmsg shutdown getsockopt setsockopt getsockname getpeername"
_TIME = """
clock_gettime clock_getres gettimeofday time times alarm getitimer setitimer
"""
_SIGNALS = "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait sigaltstack restart_syscall"
_ITSELF = """
getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp getpgid getsid getrlimit
getrusage getpriority sched_getaffinity getcpu uname sysinfo getrandom rseq set_robust_list set_tid_address membarrier
exit exit_group
"""
_ALLOWED = " ".join((_MEMORY, _FILES, _WAITING, _SOCKETS, _TIME, _SIGNALS, _ITSELF)).split()

# Questions about a descriptor, from <asm-generic/ioctls.h>: is it a terminal, how wide, how much can be read; and what
# sets whether it blocks and closes. None changes anything outside the process.
_HARMLESS_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)


def why_not() -> str:
    """Why system calls cannot be filtered here; empty if they can. Linux only, as all of this."""
    from seccompy import SeccompError, supported, syscall_nr

    try:
        syscall_nr("read")
        return "" if supported() else "the kernel has no seccomp filters"
    except (SeccompError, OSError) as error:
        return str(error)


def allow_only_computing() -> None:
    """Refuses this process every system call but the allowed ones, for good; a refused call is a PermissionError.

    What is not named here is refused: new calls of later kernels, and those of other calling conventions.

    Raises:
        OSError: The kernel does not allow it.
    """
    from seccompy import Action, Filter, syscall_nr

    rules = Filter(default=int(Action.ERRNO) | errno.EPERM)
    for name in _ALLOWED:
        try:
            number = syscall_nr(name)
        except ValueError:
            continue  # An old call that this architecture never had.
        rules.allow(number)
    for request in _HARMLESS_IOCTLS:
        rules.allow("ioctl", args={1: request})
    # abort() and raise(), a signal to oneself; and one's own limits, which can only get tighter.
    rules.allow("tgkill", args={0: os.getpid()})
    rules.allow("prlimit64", args={0: 0})
    rules.load()
