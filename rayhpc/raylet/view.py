"""This raylet's copy of the cluster: which nodes there are, and what is free on each.

Updated by `node` from the head's messages; read by `scheduling`.  Always a little old: whatever is
sent to a node is debited until that node's next report, or until that must have come.
"""

from __future__ import annotations

from rayhpc.raylet.resources import shortage
from rayhpc.wire.address import NodeNumber
from rayhpc.wire.messages.cluster import Usage
from rayhpc.wire.messages.common import NodeInfo, Resources

# Something sent to a node that has not changed its report never arrived: its submitter no longer
# needed it, or has ended.
DEBIT_S = 2.0


class NodeView:
    """One living node as seen from here."""

    __slots__ = ("available", "debits", "draining", "info", "leased", "pending", "version")

    def __init__(self, info: NodeInfo) -> None:
        self.info = info
        self.available = dict(info.total)
        # What leases hold there, and the node can recall.
        self.leased: Resources = {}
        self.pending = 0
        self.draining = False
        self.version = -1
        # What was sent there since its last report, and when; oldest first.
        self.debits: list[tuple[float, Resources]] = []

    def has_room(self, demand: Resources) -> bool:
        """Whether it could serve the demand at once, as far as known."""
        return not self.draining and not shortage(self.available, demand)

    def may_have_room(self, demand: Resources) -> bool:
        """Whether it could serve the demand once it has recalled what leases have.

        What was sent there since its report will be leased then, and can be recalled like the rest.
        """
        available = dict(self.available)
        for _, sent in self.debits:
            for name, amount in sent.items():
                available[name] = available.get(name, 0) + amount
        lack = shortage(available, demand)
        return not self.draining and not shortage(self.leased, lack)

    def could_ever(self, demand: Resources) -> bool:
        """Whether it could serve the demand when idle."""
        return not self.draining and not shortage(self.info.total, demand)

    def charge(self, demand: Resources, sign: int = 1) -> None:
        """It has less than it last reported (`sign` -1: undo that)."""
        for name, amount in demand.items():
            self.available[name] = self.available.get(name, 0) - sign * amount
        self.pending += sign


class ClusterView:
    """All living nodes.

    Args:
        me: this node's number.
    """

    def __init__(self, me: NodeNumber) -> None:
        self.me = me
        self.nodes: dict[NodeNumber, NodeView] = {}
        # Numbers are never reused.  A node in neither collection has not been announced yet.
        self.gone: set[NodeNumber] = set()
        self._by_id: dict[str, NodeNumber] = {}

    def add(self, info: NodeInfo) -> None:
        """A node has joined."""
        if info.number not in self.nodes:
            self.nodes[info.number] = NodeView(info)
            self._by_id[info.node_id] = info.number

    def update(self, usage: Usage) -> bool:
        """A node's state has changed; True if it is another node's and actually newer."""
        node = self.nodes.get(usage.node)
        if node is None or usage.version <= node.version or usage.node == self.me:
            return False
        node.available = dict(usage.available)
        node.leased = usage.leased
        node.pending = usage.pending
        node.draining = usage.draining
        node.version = usage.version
        node.debits.clear()
        return True

    def remove(self, number: NodeNumber) -> NodeInfo | None:
        """A node is gone; returns what was known about it."""
        self.gone.add(number)
        node = self.nodes.pop(number, None)
        if node is None:
            return None
        self._by_id.pop(node.info.node_id, None)
        return node.info

    def debit(self, number: NodeNumber, demand: Resources, now: float) -> None:
        """Something was sent to a node: it has less than it last reported."""
        node = self.nodes.get(number)
        if node is not None:
            node.charge(demand)
            node.debits.append((now, demand))

    def expire(self, now: float) -> bool:
        """Take back the debits that no report has covered in time; True if there were any."""
        found = False
        for node in self.nodes.values():
            while node.debits and node.debits[0][0] + DEBIT_S <= now:
                node.charge(node.debits.pop(0)[1], -1)
                found = True
        return found

    def deadline(self) -> float | None:
        """When `expire` has something to do; None: never."""
        firsts = [x.debits[0][0] for x in self.nodes.values() if x.debits]
        return min(firsts) + DEBIT_S if firsts else None

    def with_id(self, node_id: str) -> NodeView | None:
        """The living node with that id."""
        number = self._by_id.get(node_id)
        return None if number is None else self.nodes.get(number)

    def largest(self, name: str) -> int:
        """The largest amount of a resource that any node has."""
        return max((x.info.total.get(name, 0) for x in self.nodes.values()), default=0)
