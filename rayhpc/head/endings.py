"""When the processes of a node that was declared dead have surely ended.

Used by `membership`.  A node may be cut off and alive: it ends by itself, `HEAD_PATIENCE_S` after
it sent the last heartbeat that the head has answered.  Until then an actor of it must not be
started again, or it would live twice.  Decides only when that is; sends nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rayhpc.wire.address import NodeNumber
from rayhpc.wire.messages.cluster import HEAD_PATIENCE_S

# By the node's own clock it ends a second earlier: that is for ending its workers, and for clocks.
SURELY_S = HEAD_PATIENCE_S + 1.0
# A connection that breaks while heartbeats still came was closed by the other machine: its raylet
# has died, and its fork server ends the rest at once; or the connection was reset, and then the
# raylet asks to be taken back within this time.
BREAK_S = 0.5
FRESH_S = 2.5


@dataclass
class _Ending:
    """`last` is when it was last heard as a member, `recent` when at all, `until` the verdict."""

    last: float
    recent: float
    until: float


class Endings:
    """The nodes that are dead to the cluster and may still run.

    Args:
        now: a monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._running: dict[NodeNumber, _Ending] = {}

    def dead(self, number: NodeNumber, heard: float, *, broken: bool, orderly: bool) -> None:
        """A node has been declared dead.

        Args:
            number: which.
            heard: when it was last heard.
            broken: its connection has broken.
            orderly: it had said that it leaves, which it does after its processes have ended.
        """
        now = self._now()
        is_fresh = broken and now - heard < FRESH_S
        until = heard + SURELY_S
        if is_fresh:
            until = now if orderly else now + BREAK_S
        self._running[number] = _Ending(heard, heard, until)

    def heard(self, number: NodeNumber) -> None:
        """It has said something after that: it is alive."""
        ending = self._running.get(number)
        if ending is not None:
            ending.recent = self._now()
            ending.until = max(ending.until, ending.last + SURELY_S)

    def disconnected(self, number: NodeNumber) -> None:
        """Its connection has broken after that."""
        ending = self._running.get(number)
        if ending is not None and self._now() - ending.recent < FRESH_S:
            ending.until = min(ending.until, self._now() + BREAK_S)

    def over(self) -> list[NodeNumber]:
        """Those that have ended since the last call."""
        now = self._now()
        found = [number for number, ending in self._running.items() if ending.until <= now]
        for number in found:
            del self._running[number]
        return found

    def deadline(self) -> float:
        """When `over` has something next; infinity: never."""
        return min((ending.until for ending in self._running.values()), default=math.inf)
