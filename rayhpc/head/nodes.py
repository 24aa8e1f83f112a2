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

from rayhpc.head.ledger import Ledger, encode, number_key
from rayhpc.wire.address import Address, NodeNumber, raylet_of
from rayhpc.wire.feasibility import add, subtract
from rayhpc.wire.messages.cluster import Heartbeat, Usage
from rayhpc.wire.messages.common import NodeInfo, Resources
from rayhpc.wire.messages.listings import NodeState

DEAD_KEPT = 2_000
_LAST = b"last_node"

_decode_number = msgspec.msgpack.Decoder(int).decode


class SavedNode(msgspec.Struct, array_like=True):
    """What is kept of a node; the rest comes from its raylet when that has come back."""

    info: NodeInfo
    leaving: str
    ended: str
    skew: float
    joined: float
    left: float


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
        "_ledger",
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

    def __init__(self, info: NodeInfo, ledger: Ledger, joined: float = 0.0) -> None:
        self._ledger = ledger
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

    def touch(self) -> None:
        """It has changed in what is kept of it."""
        self._ledger.touch("nodes", number_key(self.number), self._saved)

    def restore(self, saved: SavedNode, orders: int) -> None:
        """It is as an earlier life of the head knew it; it has not come back yet."""
        self.leaving, self.ended, self.skew = saved.leaving, saved.ended, saved.skew
        self.joined, self.left = saved.joined, saved.left
        self._sent = orders

    def _saved(self) -> bytes:
        return encode(
            SavedNode(self.info, self.leaving, self.ended, self.skew, self.joined, self.left)
        )

    def takes_work(self) -> bool:
        """Whether new work may be placed here."""
        return self.announced and not self.leaving and not self.ended

    def charge(self, resources: Resources) -> int:
        """Account for one order sent to the raylet; returns its number."""
        self._sent += 1
        self._ledger.touch("orders", number_key(self.number), lambda: encode(self._sent))
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
            memory=last.memory,
            memory_limit=last.memory_limit,
            moved=last.moved,
        )


class Nodes:
    """All nodes.

    `grown` are the nodes that may have more room than when last looked at; the head clears it after
    each turn.  `version` changes with every node that joins or leaves.

    Args:
        ledger: keeps them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.alive: dict[NodeNumber, NodeRecord] = {}
        self.dead: deque[NodeRecord] = deque(maxlen=DEAD_KEPT)
        self.grown: set[NodeNumber] = set()
        self._by_id: dict[str, NodeRecord] = {}
        self._last_number = 0
        self.version = 0
        self._restore()

    def admit(self, info: NodeInfo, joined: float = 0.0) -> NodeRecord:
        """Give a new node its number (starting at 1, never reused); it has joined now."""
        self._last_number += 1
        self.version += 1
        numbered = msgspec.structs.replace(info, number=self._last_number)
        node = NodeRecord(numbered, self._ledger, joined)
        self.alive[node.number] = node
        self._by_id[info.node_id] = node
        self._ledger.put("meta", _LAST, encode(self._last_number))
        node.touch()
        return node

    def bury(self, node: NodeRecord, reason: str, left: float = 0.0) -> None:
        """A node is gone for good, since now."""
        node.ended = reason
        node.left = left
        node.touch()
        self.version += 1
        del self.alive[node.number]
        self.grown.discard(node.number)
        if len(self.dead) == self.dead.maxlen:
            oldest = self.dead[0]
            self._by_id.pop(oldest.info.node_id, None)
            self._ledger.drop("nodes", number_key(oldest.number))
        self.dead.append(node)
        self._ledger.drop("orders", number_key(node.number))

    def _restore(self) -> None:
        """What an earlier life of the head knew."""
        orders = dict(self._ledger.rows("orders"))
        for key, value in self._ledger.rows("nodes"):
            saved = _decode_node(value)
            node = NodeRecord(saved.info, self._ledger)
            sent = orders.get(key)
            node.restore(saved, 0 if sent is None else _decode_number(sent))
            self._by_id[saved.info.node_id] = node
            if node.ended:
                self.dead.append(node)
            else:
                self.alive[node.number] = node
        last = dict(self._ledger.rows("meta")).get(_LAST)
        self._last_number = 0 if last is None else _decode_number(last)

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


_decode_node = msgspec.msgpack.Decoder(SavedNode).decode
