"""Processes by pid and start time: nothing else is ever signalled.

Used by `lab`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import NamedTuple

from ssh.lab.errors import LabError


class Process(NamedTuple):
    """A process, told from a later one of the same pid by when it was started."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The live process of that pid.  Raises LabError if there is none."""
        started = _start_time(pid)
        if started is None:
            raise LabError(f"process {pid} has ended")
        return cls(pid, started)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return _start_time(self.pid) == self.started

    def kill(self, limit_s: float = 5.0) -> None:
        """End it at once, and wait until it has gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                select.select([descriptor], [], [], limit_s)
        finally:
            os.close(descriptor)


def _start_time(pid: int) -> int | None:
    """In clock ticks since boot; None if there is no such live process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
