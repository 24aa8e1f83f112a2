"""Workers whose submitter has ended while its job goes on: they end, and say first what they ran.

Kept by `leases`.  Killed at once, a worker would leave no trace of its task: its submitter, which
knew of it, is gone, too.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.raylet.workers import WorkerProcess

# A task that does not hear its interrupt is killed after this time.
GRACE_S = 0.25


class Orphans:
    """The workers of one node that are about to end.

    Args:
        now: the time in seconds, monotonic.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ends: dict[WorkerProcess, float] = {}

    def add(self, worker: WorkerProcess) -> None:
        """This one has been told to end."""
        self._ends.setdefault(worker, self._now() + GRACE_S)

    def forget(self, worker: WorkerProcess) -> None:
        """It has ended."""
        self._ends.pop(worker, None)

    def deadlines(self) -> list[float]:
        """When there are workers to kill."""
        return list(self._ends.values())

    def due(self) -> list[WorkerProcess]:
        """Those that are to be killed now."""
        now = self._now()
        found = [worker for worker, end in self._ends.items() if end <= now]
        for worker in found:
            del self._ends[worker]
        return found
