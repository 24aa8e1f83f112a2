"""Tells this process's raylet how many of its tasks wait for a worker, class by class.

Used by `submission`, in the leading thread.  Each task waits in one queue of one process, so this
is where they are counted; requests for leases, of which one process may have several at several
raylets, are not.  For people and for whoever decides how many nodes there should be: no grant
depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

from rayhpc.runtime.owner.class_queue import ClassQueue
from rayhpc.wire.address import Address
from rayhpc.wire.messages import leases

# A report goes out so often at most, and says at most so much.
EVERY_S = 0.25
CLASSES_MAX = 500

Queue = ClassQueue[Any]


class BacklogReports:
    """What one process reports.

    Args:
        raylet: its raylet.
        send: puts a message on its way.
        now: the time in seconds, monotonic.

    Attributes:
        due: when `report` must be called; None: nothing has changed.
    """

    def __init__(
        self,
        raylet: Address,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
    ) -> None:
        self.due: float | None = None
        self._raylet = raylet
        self._send = send
        self._now = now
        self._changed: dict[Queue, None] = {}
        self._soonest = float("-inf")

    def note(self, queue: Queue) -> None:
        """A queue has another backlog, perhaps: called after every change, so it only notes."""
        self._changed[queue] = None
        if self.due is None:
            self.due = max(self._soonest, self._now())

    def report(self) -> None:
        """Report what has changed."""
        news = []
        for queue in list(islice(self._changed, CLASSES_MAX)):
            del self._changed[queue]
            backlog = queue.backlog()
            if backlog != queue.reported:
                queue.reported = backlog
                news.append(leases.ClassBacklog(queue.wanted, *backlog))
        if news:
            self._soonest = self._now() + EVERY_S
            self._send(self._raylet, leases.Backlog(news))
        self.due = self._soonest if self._changed else None
