"""When this node may start no more of the tasks that say how long they run.

Used by `leases`.  A node with a time limit ends with whatever runs on it.  So a task that says how
long it runs is started only while that much time is left, and a lease for such tasks is taken back
at that moment: what had not started goes elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rayhpc.raylet.dispatch import Revocable
from rayhpc.raylet.view import ClusterView
from rayhpc.wire.feasibility import end_of


class LastStarts:
    """The leases that end before their node does, and when.

    Args:
        view: the cluster, this node included.
        now: the time in seconds, monotonic.
        wall: seconds since the epoch.
    """

    def __init__(
        self, view: ClusterView, now: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._view, self._now, self._wall = view, now, wall
        self._leases: dict[Revocable, float] = {}

    def last(self, seconds: float) -> float:
        """When something that runs for so long may be started at the latest; 0: it does not say."""
        me = self._view.nodes.get(self._view.me)
        if not seconds or me is None:
            return math.inf
        return self._now() + end_of(me.info.labels) - self._wall() - seconds

    def may_start(self, seconds: float) -> bool:
        """Whether it may be started now."""
        return not seconds or self._now() <= self.last(seconds)

    def add(self, lease: Revocable, seconds: float) -> None:
        """A lease begins whose tasks run for so long."""
        last = self.last(seconds)
        if last < math.inf:
            self._leases[lease] = last

    def remove(self, lease: Revocable) -> None:
        """A lease has ended."""
        self._leases.pop(lease, None)

    def revoke_due(self) -> None:
        """Take back the leases under which nothing may be started any more."""
        now = self._now()
        for lease in [each for each, last in self._leases.items() if last <= now]:
            del self._leases[lease]
            lease.take_back(now)

    def deadlines(self) -> list[float]:
        """When `revoke_due` must be called."""
        return list(self._leases.values())
