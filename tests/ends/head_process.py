"""The head's process, found below its node's and killed.

Used by the tests of the head's return, and by `tests.chaos.head_killed`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil

PATIENCE_S = 60.0


def until(there: Callable[[], bool]) -> None:
    start = time.monotonic()
    while not there():
        assert time.monotonic() - start < PATIENCE_S, "it has not come"
        time.sleep(0.01)


class Head:
    """The head's process, in whichever life."""

    def __init__(self, raylet: int) -> None:
        self._raylet = psutil.Process(raylet)

    def pid(self) -> int:
        """Of the one that runs; 0: none does."""
        for child in self._raylet.children():
            try:
                if child.cmdline()[:1] and child.cmdline()[0].startswith("rayhpc head"):
                    return child.pid
            except psutil.NoSuchProcess:
                continue
        return 0

    def kill(self) -> int:
        """Kill it, now."""
        until(lambda: bool(self.pid()))
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        return pid

    def is_another_than(self, pid: int) -> bool:
        """Whether it has been started again."""
        return self.pid() not in (0, pid)
