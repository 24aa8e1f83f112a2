"""Asks this node's processes to collect garbage when the object store fills up.

Used by `node`, each turn.  A reference in a cycle of Python objects keeps its value until its
process runs the garbage collector, and an idle process creates no garbage to trigger it.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.raylet.node_parts import NodeParts
from rayhpc.raylet.workers import STARTING
from rayhpc.wire.messages import objects

# The share of the store's bytes in use, as in Ray.
FULL_SHARE = 0.7
# A store full of needed objects must not keep all processes busy with collecting.
EVERY_S = 10.0


class GarbageCalls:
    """Decides when to ask.

    Args:
        now: the time in seconds, monotonic.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._next = float("-inf")

    def ask(self, node: NodeParts) -> None:
        """Ask for a garbage collection if there is reason to."""
        store = node.objects
        if store.used <= FULL_SHARE * store.capacity or self._now() < self._next:
            return
        self._next = self._now() + EVERY_S
        # A worker that is still starting must not be contacted.
        workers = [x.address for x in node.workers.by_address.values() if x.state != STARTING]
        for address in (*workers, *node.attached):
            node.send(address, objects.CollectGarbage())
