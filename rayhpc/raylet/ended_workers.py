"""The ended workers of this node: which, how, and why, for the state listings.

Kept by `node`, filled by `deaths`, read by `reporting`.  Keeps only the latest, and nothing about
drivers: a driver's end is part of its job.
"""

from __future__ import annotations

import time
from collections import deque

from rayhpc.raylet.workers import WorkerProcess
from rayhpc.wire.messages.listings import WorkerRow

# 150 bytes each.
_KEPT = 1_000

BY_SYSTEM = "INTENDED_SYSTEM_EXIT"
BY_USER = "INTENDED_USER_EXIT"
OF_MEMORY = "NODE_OUT_OF_MEMORY"
USER_ERROR = "USER_ERROR"
SYSTEM_ERROR = "SYSTEM_ERROR"


class EndedWorkers:
    """The most recently ended workers."""

    def __init__(self) -> None:
        self._rows: deque[WorkerRow] = deque(maxlen=_KEPT)

    def note(self, worker: WorkerProcess, reason: str, code: int) -> None:
        """A worker's process has ended with this exit code (or a negated signal number)."""
        self._rows.append(
            WorkerRow(
                worker.address,
                worker.pid,
                "worker",
                "dead",
                worker.key[0],
                worker.actor,
                exit_type=_exit_type(worker, code),
                exit_detail=reason,
                started=worker.started,
                ended=time.time(),
            )
        )

    def rows(self) -> list[WorkerRow]:
        """Those still remembered, oldest first."""
        return list(self._rows)


def _exit_type(worker: WorkerProcess, code: int) -> str:
    """In Ray's terms: who intended the process to end, or what went wrong."""
    if worker.for_memory:
        return OF_MEMORY
    if worker.is_crash:
        return SYSTEM_ERROR
    if worker.death or (worker.is_asked_to_end and code == 0):
        return BY_SYSTEM
    if worker.left is not None:
        return BY_USER if code == 0 else USER_ERROR
    return SYSTEM_ERROR
