"""The name that `ps` shows for a process, instead of its arguments.

Called by the node process, the head, the fork server and workers, each for itself.  Uses
setproctitle if installed; otherwise it overwrites the memory from which the kernel reads the
arguments (proc_pid_cmdline(5)), as setproctitle does, and names the main thread with prctl(2).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

_PR_SET_NAME = 15
_NAME_BYTES = 15
# Field numbers in proc_pid_stat(5), counted from the state, which follows the command in brackets.
_ARG_START, _ARG_END, _ENV_START, _ENV_END = 45, 46, 47, 48

_shown = ""
_write: Callable[[str], None] | None = None


def prepare() -> None:
    """Find out how, once, in the process that all others are forked from; single-threaded.

    The strings of the initial environment are moved, so that a title can use their space as well:
    the arguments alone are often shorter.
    """
    global _write
    if _write is None:
        _write = _by_library() or _by_hand() or _not_at_all


def show(title: str) -> None:
    """Set the title; does nothing if `prepare` was not called."""
    global _shown
    if title == _shown or _write is None:
        return
    _shown = title
    _write(title)


def _by_library() -> Callable[[str], None] | None:
    try:
        from setproctitle import setproctitle
    except ImportError:
        return None
    write: Callable[[str], None] = setproctitle
    return write


def _by_hand() -> Callable[[str], None] | None:
    area = _area()
    if area is None:
        return None
    start, arguments, size = area
    memory = memoryview((ctypes.c_char * size).from_address(start)).cast("B")
    name_thread = ctypes.CDLL(None).prctl
    longest = 0

    def write(title: str) -> None:
        nonlocal longest
        text = title.encode("utf-8", "backslashreplace")[: size - 1]
        # What follows the arguments is read as part of the title unless these end with a NUL.
        end = min(size, max(len(text) + 1, longest, arguments))
        memory[:end] = text.ljust(end, b"\0")
        longest = len(text) + 1
        name_thread(_PR_SET_NAME, text[:_NAME_BYTES], 0, 0, 0)

    return write


def _area() -> tuple[int, int, int] | None:
    """Address, bytes of the arguments, and total bytes that a title may use."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end, env_start, env_end = (
            int(fields[each]) for each in (_ARG_START, _ARG_END, _ENV_START, _ENV_END)
        )
        told = Path("/proc/self/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    arguments = end - start
    if start == 0 or arguments <= 0 or not told or len(told) > arguments:
        return None
    if ctypes.string_at(start, len(told)) != told:
        return None  # an unusual /proc, or the title has been set already
    size = arguments
    if env_start == end and env_end > env_start:
        for name, value in os.environb.items():
            os.putenv(name, value)
        size = env_end - start
    return start, arguments, size


def _not_at_all(title: str) -> None:
    """Does nothing: the kernel does not say where the arguments are."""
