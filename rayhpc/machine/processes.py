"""Processes by identity instead of by pid: whether one is still the same, and ending it with us.

Called by the raylet, the fork server, the launcher and `rayhpc stop`.  A pid alone identifies
nothing, since it is reused; a pid with its start time identifies one process of one boot.  Never
lists processes.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from rayhpc.machine.polling import milliseconds

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# States in proc_pid_stat(5) of a first thread that has ended.  The others may still hold files and
# locks: a process has ended with the last of its threads.
_ENDED = frozenset("ZXx")
_STATE, _THREADS, _STARTED = 0, 17, 19
# Between two checks of a process, on kernels without pidfds.
_PAUSE_S = 0.002


def start_time(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; None if it is not running any more."""
    fields = _stat(pid)
    if not fields or (fields[_STATE] in _ENDED and int(fields[_THREADS]) <= 1):
        return None
    return int(fields[_STARTED])


def is_same_process(pid: int, started: int) -> bool:
    """Whether `pid` is running and is the process that started at `started` (see `start_time`)."""
    return start_time(pid) == started


def boot_id() -> str:
    """The id of this boot: start times of another boot mean nothing; empty if unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when `pid` ends; None if unsupported (kernel < 5.3).

    Raises ProcessLookupError if there is no such process.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            return None  # old kernel, or a container's seccomp filter
        raise


def readable(descriptor: int, seconds: float) -> bool:
    """Whether a descriptor becomes readable in time (unlike select(2), any number works)."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds(seconds)))


def reap_child(pid: int, timeout_s: float) -> bool:
    """Wait for a child to end and reap it; False if it has not ended in time.

    Also True if other code in this process has reaped it.
    """
    deadline = time.monotonic() + timeout_s
    try:
        descriptor = open_pidfd(pid)
    except ProcessLookupError:
        return True
    try:
        while not _is_reaped(pid):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if descriptor is None:
                time.sleep(min(left, _PAUSE_S))
            else:
                readable(descriptor, left)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def send_signal(pid: int, started: int, signum: int) -> bool:
    """Signal the process that started at `started`; False if it has ended or the pid was reused.

    The descriptor pins the process before it is checked, so the pid cannot be reused in between.
    Raises PermissionError if it belongs to someone else.
    """
    try:
        descriptor = open_pidfd(pid)
    except ProcessLookupError:
        return False
    try:
        if not is_same_process(pid, started):
            return False
        return _send(descriptor, pid, signum)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def die_with_parent(parent: int, signum: int = signal.SIGKILL) -> bool:
    """Have the kernel send `signum` to this process when the parent *thread* that forked it ends.

    Call it in a child of a single-threaded fork server, right after the fork: the setting is lost
    at the next fork.  False means that `parent` was already gone: exit at once.
    """
    _prctl()(_PR_SET_PDEATHSIG, signum)
    return os.getppid() == parent


def be_first_victim() -> None:
    """Make the kernel's OOM killer choose this process, and its children, before others."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        return  # a container may forbid it; then all are treated alike


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that it can end and reap them."""
    _prctl()(_PR_SET_CHILD_SUBREAPER, 1)


def set_process_option(option: int, value: int) -> None:
    """Call prctl(2) with one value.  Raises OSError."""
    _prctl()(option, value)


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _send(descriptor: int | None, pid: int, signum: int) -> bool:
    try:
        if descriptor is not None and hasattr(signal, "pidfd_send_signal"):
            signal.pidfd_send_signal(descriptor, signum)
        else:
            os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name, the state first."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name may itself contain spaces and parentheses; the last one closes it.
    return text[text.rindex(b")") + 1 :].decode("ascii").split()


@functools.cache
def _prctl() -> Callable[[int, int], None]:
    """prctl(2), looked up once; does nothing if it is unavailable."""
    if not sys.platform.startswith("linux"):
        return lambda option, value: None
    function = ctypes.CDLL(None, use_errno=True).prctl
    function.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    function.restype = ctypes.c_int

    def call(option: int, value: int) -> None:
        if function(option, value, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"prctl({option}): {os.strerror(number)}")

    return call
