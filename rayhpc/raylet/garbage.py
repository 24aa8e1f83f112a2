"""Asks this node's processes for their garbage when the object store fills up.

Used by `node`, each turn.  A reference in a ring of Python objects keeps its value until the
garbage collector of its process runs, and an idle process makes no garbage that would have it run.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.raylet.node_parts import NodeParts
from rayhpc.raylet.workers import STARTING
from rayhpc.wire.messages import objects

# Of the store's bytes that are used, as in Ray.
FULL_SHARE = 0.7
# A store that is full of what is needed must not keep all processes busy with looking.
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
        """Ask for garbage if there is reason to."""
        store = node.objects
        if store.used <= FULL_SHARE * store.capacity or self._now() < self._next:
            return
        self._next = self._now() + EVERY_S
        # One that still starts must not be spoken to.
        workers = [x.address for x in node.workers.by_address.values() if x.state != STARTING]
        for address in (*workers, *node.attached):
            node.send(address, objects.CollectGarbage())
