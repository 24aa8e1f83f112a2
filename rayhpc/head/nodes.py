"""The nodes of the cluster and the head's own account of what is free on each.

Used by every module of the head.  Sends nothing.

A raylet reports what is available, but always late: what the head has placed in the meantime is
missing from the report, and what it has released is not in it yet.  So the `StartActor`,
`PrepareBundles` and `ReleaseBundles` messages are numbered by counting them, and each is charged
(or credited) to the node until the raylet's report says that it has arrived (`Usage.taken`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from rayhpc.wire.address import Address, NodeNumber, raylet_of
from rayhpc.wire.feasibility import add, subtract
from rayhpc.wire.messages.cluster import Heartbeat, NodeState, Usage
from rayhpc.wire.messages.common import NodeInfo, Resources

DEAD_KEPT = 2_000


class NodeRecord:
    """One node, alive or dead.

    `free` is what may be placed there now.  `lent` is what actors were placed with beyond what they
    hold: it counts when nodes are compared, never when something must fit.  `leased` is what tasks
    hold and the raylet can recall.  `actors` is how many are here or in flight.  `announced` says
    that the other raylets know the node, `answered` when it was last told that it is heard.
    `leaving` is why it takes no new work (empty: it does), `ended` why it is gone (empty: alive),
    `joined` and `left` when, in seconds since the epoch (0: it has not left), `skew` how far its
    clock was ahead when it joined.
    """

    __slots__ = (
        "_charges",
        "_sent",
        "actors",
        "announced",
        "answered",
        "ended",
        "free",
        "info",
        "joined",
        "last",
        "leased",
        "leaving",
        "left",
        "lent",
        "number",
        "raylet",
        "skew",
        "usage",
    )

    def __init__(self, info: NodeInfo, joined: float = 0.0) -> None:
        self.info = info
        self.number: NodeNumber = info.number
        self.raylet: Address = raylet_of(info.number)
        self.usage = Usage(info.number, info.total)
        self.free: Resources = dict(info.total)
        self.lent: Resources = {}
        self.leased: Resources = {}
        self.actors = 0
        self.last = Heartbeat()
        self.announced = False
        self.answered = float("-inf")
        self.leaving = ""
        self.ended = ""
        self.joined = joined
        self.left = 0.0
        self.skew = 0.0
        self._sent = 0
        self._charges: dict[int, Resources] = {}

    def takes_work(self) -> bool:
        """Whether new work may be placed here."""
        return self.announced and not self.leaving and not self.ended

    def charge(self, resources: Resources) -> int:
        """Account for one order sent to the raylet; returns its number."""
        self._sent += 1
        if resources:
            self._charges[self._sent] = resources
            subtract(self.free, resources)
        return self._sent

    def drop(self, order: int) -> None:
        """An order was refused or has ended: it no longer takes anything."""
        resources = self._charges.pop(order, None)
        if resources is not None:
            add(self.free, resources)

    def report(self, usage: Usage) -> None:
        """Apply the raylet's report of what is available; it includes orders received by then."""
        self.usage = usage
        for order in [x for x in self._charges if x <= usage.taken]:
            del self._charges[order]
        free = dict(usage.available)
        for resources in self._charges.values():
            subtract(free, resources)
        self.free = free
        self.leased = usage.leased

    def without_tasks(self) -> Resources:
        """What may be placed here once the raylet has recalled what tasks have."""
        free = dict(self.free)
        add(free, self.leased)
        return free

    def state(self) -> NodeState:
        """The node's state for listings."""
        last = self.last
        return NodeState(
            info=self.info,
            alive=not self.ended,
            available=self.usage.available,
            ended=self.ended,
            store_used=last.store_used,
            store_spilled=last.store_spilled,
            workers=last.workers,
            pending=self.usage.pending,
            draining=bool(self.leaving),
            skew=self.skew,
            errors=last.errors,
            last_error=last.last_error,
            joined=self.joined,
            left=self.left,
        )


class Nodes:
    """All nodes.

    `grown` are the nodes that may have more room than when last looked at; the head clears it after
    each turn.  `version` changes with every node that joins or leaves.
    """

    def __init__(self) -> None:
        self.alive: dict[NodeNumber, NodeRecord] = {}
        self.dead: deque[NodeRecord] = deque(maxlen=DEAD_KEPT)
        self.grown: set[NodeNumber] = set()
        self._by_id: dict[str, NodeRecord] = {}
        self._last_number = 0
        self.version = 0

    def admit(self, info: NodeInfo, joined: float = 0.0) -> NodeRecord:
        """Give a new node its number (starting at 1, never reused); it has joined now."""
        self._last_number += 1
        self.version += 1
        node = NodeRecord(msgspec.structs.replace(info, number=self._last_number), joined)
        self.alive[node.number] = node
        self._by_id[info.node_id] = node
        return node

    def bury(self, node: NodeRecord, reason: str, left: float = 0.0) -> None:
        """A node is gone for good, since now."""
        node.ended = reason
        node.left = left
        self.version += 1
        del self.alive[node.number]
        self.grown.discard(node.number)
        if len(self.dead) == self.dead.maxlen:
            self._by_id.pop(self.dead[0].info.node_id, None)
        self.dead.append(node)

    def by_id(self, node_id: str) -> NodeRecord | None:
        """The node with that id, alive or recently dead."""
        return self._by_id.get(node_id)

    def open(self) -> list[NodeRecord]:
        """The nodes that take new work."""
        return [node for node in self.alive.values() if node.takes_work()]

    def open_grown(self) -> list[NodeRecord]:
        """Those among them that may have more room than before."""
        found = (self.alive.get(number) for number in self.grown)
        return [node for node in found if node is not None and node.takes_work()]

    def states(self) -> Iterator[NodeState]:
        """Every node's state for listings, dead ones first."""
        for node in self.dead:
            yield node.state()
        for node in self.alive.values():
            yield node.state()
