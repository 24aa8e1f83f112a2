"""Real processes in tests: whom one has started, and that all of them are gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from rayhpc.machine import processes

Known = dict[int, int]


def family(pid: int) -> Known:
    """A process and all its descendants now, with their start times."""
    found: Known = {}
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        started = processes.start_time(each)
        if started is None or each in found:
            continue
        found[each] = started
        try:
            tasks = os.listdir(f"/proc/{each}/task")
            for task in tasks:
                text = Path(f"/proc/{each}/task/{task}/children").read_text()
                waiting += [int(word) for word in text.split()]
        except OSError:
            continue  # it has ended meanwhile
    return found


def lose_power(known: Known) -> Known:
    """Kill them as a machine without power does: none lives to see that another has ended.

    Whom they have started since `known` was taken dies with them; a stopped one starts nobody.
    Children are killed first, since the kernel wakes a stopped process group without a parent.

    Returns:
        All that were killed.
    """
    stopped: Known = {}
    while waiting := {pid: started for pid, started in known.items() if pid not in stopped}:
        for pid, started in waiting.items():
            processes.send_signal(pid, started, signal.SIGSTOP)
        for pid in waiting:
            until(partial(_is_stopped, pid))  # what it is just starting is seen below
        stopped.update(waiting)
        known = {each: at for pid in stopped for each, at in family(pid).items()}
    for pid, started in reversed(stopped.items()):
        processes.send_signal(pid, started, signal.SIGKILL)
    return stopped


def left_of(known: Known, within_s: float = 60.0) -> list[str]:
    """The command lines of those that still run after the time; empty if all are gone."""
    deadline = time.monotonic() + within_s
    left = []
    for pid, started in known.items():
        if not _ends(pid, started, deadline):
            left.append(f"{pid}: {_command(pid)}")
    return left


def names_in(path: Path) -> list[str]:
    """What lies in a directory, sorted; nothing if it is not there."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def wait_until_gone(paths: Iterable[Path], within_s: float = 60.0) -> list[Path]:
    """Those of `paths` that are still there after the time."""
    deadline = time.monotonic() + within_s
    waiting = list(paths)
    while (left := [path for path in waiting if path.exists()]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def until(condition: Callable[[], bool], within_s: float = 60) -> None:
    """Wait for something that other processes bring about."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_stopped(pid: int) -> bool:
    """Whether all threads of a process have stopped or ended."""
    try:
        states = [_state(Path(f"/proc/{pid}/task/{x}")) for x in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return True  # it has ended meanwhile
    return set(states) <= set("TtZX")


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def _ends(pid: int, started: int, deadline: float) -> bool:
    try:
        descriptor = processes.open_pidfd(pid)
    except ProcessLookupError:
        return True
    assert descriptor is not None
    try:
        while processes.is_same_process(pid, started):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            processes.readable(descriptor, left)
    finally:
        os.close(descriptor)
    return True


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "?"
