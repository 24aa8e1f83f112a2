"""Workers that were sent SIGTERM: they end, as in Ray, unless the whole node is to end.

Kept by `workers`.  A batch scheduler sends the signal to every process of a job; the raylet or its
launcher gets it, too, and drains the node while its work goes on.  So a worker that was sent it is
to end only if no drain has begun a moment later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from rayhpc.wire.address import Address

# By then the launcher, which gets the signal at the same time, has had the node drained.
PATIENCE_S = 2.0
Item = TypeVar("Item")
REASON = "it was sent SIGTERM, by somebody outside the cluster"


class Sigterms:
    """The workers of one node that were sent SIGTERM.

    Args:
        now: the time in seconds, monotonic.

    Attributes:
        are_for_all: the node is being drained: its workers go on until their work has ended.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.are_for_all = False
        self._now = now
        self._ends: dict[Address, float] = {}

    def note(self, worker: Address) -> None:
        """This worker was sent it."""
        self._ends.setdefault(worker, self._now() + PATIENCE_S)

    def deadlines(self) -> list[float]:
        """When there are workers to end."""
        return list(self._ends.values())

    def due(self, workers: Mapping[Address, Item]) -> list[Item]:
        """Those of these workers that are to end now."""
        now = self._now()
        found = [worker for worker, end in self._ends.items() if end <= now]
        for worker in found:
            del self._ends[worker]
        return [] if self.are_for_all else [workers[x] for x in found if x in workers]
