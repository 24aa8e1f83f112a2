"""Broken links to living nodes: when to dial again, and how long the head may take to explain them.

Used by `node`.  A link is dialled again and again.  If that does not help, and the head does not
declare the other node dead in time, the head is told: one of the two has to go.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rayhpc.wire.address import NodeNumber

PATIENCE_S = 6.0
# Between two attempts, if the first fails at once.
REDIAL_S = 0.5


class BrokenLinks:
    """The broken links of one node.

    Args:
        now: the time in seconds, monotonic.

    Attributes:
        told: those that the head was told of, and has not judged.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since: dict[NodeNumber, float] = {}
        self._redial_at = math.inf
        self.told: set[NodeNumber] = set()

    def add(self, node: NodeNumber) -> None:
        """The link to that node is broken."""
        self._since.setdefault(node, self._now())
        self._redial_at = min(self._redial_at, self._now() + REDIAL_S)

    def drop(self, node: NodeNumber) -> None:
        """The link is whole again, or the node is dead, which explains it."""
        self._since.pop(node, None)
        self.told.discard(node)

    def overdue(self) -> list[NodeNumber]:
        """Those that the head must now be told of."""
        late = [node for node, since in self._since.items() if self._now() - since >= PATIENCE_S]
        for node in late:
            del self._since[node]
        self.told.update(late)
        return late

    def to_redial(self) -> list[NodeNumber]:
        """Those that are to be dialled again now."""
        if self._now() < self._redial_at:
            return []
        self._redial_at = self._now() + REDIAL_S if self._since else math.inf
        return list(self._since)

    def deadline(self) -> float:
        """When `overdue` or `to_redial` has something; infinity: never."""
        return min(min(self._since.values(), default=math.inf) + PATIENCE_S, self._redial_at)
