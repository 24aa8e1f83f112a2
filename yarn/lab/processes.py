"""Processes by pid and start time: nothing else is ever signalled.

Used by `daemons` and `lab`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

# Every process of a lab has this variable, containers and their children included.
MARK = "YARNLAB_PART_OF"


class Process(NamedTuple):
    """A process, told from a later one of the same pid by when it was started."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The live process of that pid."""
        started = _start_time(pid)
        return None if started is None else cls(pid, started)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.pid > 0 and _start_time(self.pid) == self.started

    def send(self, number: int) -> None:
        """Signal it, if it is still there."""
        try:
            descriptor = os.pidfd_open(self.pid)  # from here on the pid cannot change its meaning
        except ProcessLookupError:
            return
        try:
            if self.alive:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def end(processes: Iterable[Process], patience_s: float) -> None:
    """SIGTERM to all, then SIGKILL to those still there after `patience_s` seconds."""
    left = list(processes)
    for number, limit_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 5.0)):
        left = [each for each in left if each.alive]
        for each in left:
            each.send(number)
        wait_until(partial(_all_ended, left), limit_s)


def _all_ended(processes: list[Process]) -> bool:
    return not any(each.alive for each in processes)


def wait_until(condition: Callable[[], bool], limit_s: float, pause_s: float = 0.1) -> bool:
    """Look again and again; False if the condition does not hold within `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True


def of_containers(run: Path, host: str | None = None) -> list[tuple[Process, str]]:
    """What the containers of this lab run, on one host or on all, with its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        process = Process.of(int(entry.name)) if entry.name.isdigit() else None
        if process is None:
            continue
        environ = _environment(process.pid)
        is_ours = environ.get(MARK) == str(run) and "CONTAINER_ID" in environ
        if is_ours and host in (None, environ.get("NM_HOST")):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found.append((process, b" ".join(words).decode(errors="replace").strip()))
    return found


def resident_mib(process: Process) -> int:
    """Resident memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _start_time(pid: int) -> int | None:
    """In clock ticks since boot; None if there is no such live process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _environment(pid: int) -> dict[str, str]:
    """What a process was started with; empty if it is gone or not ours to read."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    decoded = (pair.decode(errors="replace").partition("=") for pair in pairs)
    return {name: value for name, _, value in decoded}
