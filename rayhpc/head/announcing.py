"""What every raylet is told about the others: nodes that join or leave, and their usage.

Used by `membership`.  Everything here goes to all nodes, so in a large cluster this is where the
head spends its time: news is collected and sent as deltas, and after each round the announcer
rests in proportion to what the round cost.  It therefore never uses more than about a tenth of
a core, at the price of older views in larger clusters.  A node's death is announced at once.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.head.nodes import NodeRecord, Nodes
from rayhpc.wire.address import Address, NodeNumber
from rayhpc.wire.messages.cluster import NodeUp, View
from rayhpc.wire.messages.leases import NodeGone

PAUSE_S = 0.02
# The cost of one frame to one raylet, and of one entry in it (measured, including encryption).
FRAME_S = 10e-6
ENTRY_S = 0.06e-6
REST = 10.0
# Joins are rare, and nothing is placed on a node before it has been announced.
REST_AFTER_JOINS = 2.0


class Announcer:
    """Collects news and sends it to all nodes.

    Args:
        nodes: the table of nodes.
        send: sends a message.
        now: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        nodes: Nodes,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
    ) -> None:
        self._nodes = nodes
        self._send = send
        self._now = now
        self._joined: dict[NodeNumber, NodeRecord] = {}
        self._changed: set[NodeNumber] = set()
        self._next = 0.0

    def joined(self, node: NodeRecord) -> None:
        """A node has registered; nothing is placed on it before the others know about it."""
        self._joined[node.number] = node

    def changed(self, number: NodeNumber) -> None:
        """A node's usage has changed."""
        self._changed.add(number)

    def gone(self, numbers: list[NodeNumber], reason: str) -> None:
        """Nodes are gone, all for the same reason: tell the remaining ones now."""
        for number in numbers:
            self._joined.pop(number, None)
        self._changed.difference_update(numbers)
        message = NodeGone(numbers[0], reason, numbers[1:])
        for node in self._nodes.alive.values():
            self._send(node.raylet, message)

    def deadline(self) -> float | None:
        """When `advance` next has something to do."""
        return self._next if self._joined or self._changed else None

    def advance(self) -> None:
        """Send the news, if the last round was long enough ago."""
        if not (self._joined or self._changed) or self._now() < self._next:
            return
        news, self._joined = list(self._joined.values()), {}
        numbers, self._changed = self._changed, set()
        self._tell_joined(news)
        changed = [n.usage for x in numbers if (n := self._nodes.alive.get(x)) and n.announced]
        if changed:
            view = View(changed)
            for node in self._nodes.alive.values():
                self._send(node.raylet, view)
        for node in news:
            self._introduce(node)
        frames = len(self._nodes.alive) * (bool(news) + bool(changed))
        cost = frames * (FRAME_S + ENTRY_S * (5 * len(news) + len(changed)))
        rest = REST_AFTER_JOINS if news else REST
        self._next = self._now() + max(PAUSE_S, rest * cost)

    def _tell_joined(self, news: list[NodeRecord]) -> None:
        """Tell older nodes about the new ones, and each new one about later ones."""
        if not news:
            return
        infos = [node.info for node in news]
        message = NodeUp(infos[0], infos[1:])
        for node in self._nodes.alive.values():
            if node.announced:
                self._send(node.raylet, message)
        for index, node in enumerate(news):
            later = infos[index + 1 :]
            if later:
                self._send(node.raylet, NodeUp(later[0], later[1:]))

    def _introduce(self, node: NodeRecord) -> None:
        """Tell a new node how full the others are; from now on it takes work."""
        node.announced = True
        self._nodes.grown.add(node.number)
        known = [x.usage for x in self._nodes.alive.values() if x.usage.version and x is not node]
        if known:
            self._send(node.raylet, View(known))
