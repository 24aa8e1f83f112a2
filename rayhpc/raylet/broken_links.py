"""Broken links to living nodes: how long the head may take to explain them.

Used by `node`.  If it does not declare the other node dead in time, it is told: one of the two has
to go.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rayhpc.wire.address import NodeNumber

PATIENCE_S = 6.0


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
        self.told: set[NodeNumber] = set()

    def add(self, node: NodeNumber) -> None:
        """The link to that node is broken."""
        self._since.setdefault(node, self._now())

    def gone(self, node: NodeNumber) -> None:
        """That node is dead, which explains it."""
        self._since.pop(node, None)
        self.told.discard(node)

    def overdue(self) -> list[NodeNumber]:
        """Those that the head must now be told of."""
        late = [node for node, since in self._since.items() if self._now() - since >= PATIENCE_S]
        for node in late:
            del self._since[node]
        self.told.update(late)
        return late

    def deadline(self) -> float:
        """When `overdue` has something; infinity: never."""
        return min(self._since.values(), default=math.inf) + PATIENCE_S
