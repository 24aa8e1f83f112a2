"""Placement groups on this node: reserved bundles, and where the other bundles are.

Used by `node` and `leases`.  The head decides where bundles go; a raylet keeps them as separate
pools (`resources.Pool`) and serves from them.  It asks the head once about bundles elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.raylet.resources import Allocation, Pool, wastes_gpus
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.common import Resources

Send = Callable[[Address, msgspec.Struct], None]


class ReservedBundle:
    """One bundle reserved here: a pool, and what it holds of the node's."""

    __slots__ = ("allocation", "pool")

    def __init__(self, allocation: Allocation, resources: Resources) -> None:
        self.allocation = allocation
        self.pool = Pool(resources, allocation.shares)


class ReservedBundles:
    """All bundles on this node, and what is known about their groups.

    Args:
        node: the node's own pool.
        send: sends a message.
    """

    def __init__(self, node: Pool, send: Send) -> None:
        self._node = node
        self._send = send
        self._mine: dict[bytes, dict[int, ReservedBundle]] = {}
        self._known: dict[bytes, actors.GroupIs] = {}
        self._asked: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._mine)

    def set_aside(self, group: bytes, bundles: dict[int, Resources]) -> bool:
        """Reserve these bundles out of the node's pool, all or none."""
        mine = self._mine.get(group, {})
        made: dict[int, ReservedBundle] = {}
        for index, resources in bundles.items():
            if index in mine:
                continue
            allocation = self._node.take(resources)
            if allocation is None:
                for bundle in made.values():
                    self._node.give_back(bundle.allocation)
                return False
            made[index] = ReservedBundle(allocation, resources)
        self._mine.setdefault(group, {}).update(made)
        return True

    def give_back(self, group: bytes, indexes: list[int]) -> None:
        """Return these bundles (none named: all) to the node; what runs in them keeps nothing."""
        mine = self._mine.get(group, {})
        for index in indexes or list(mine):
            bundle = mine.pop(index, None)
            if bundle is not None:
                bundle.pool.is_closed = True
                self._node.give_back(bundle.allocation)
        if not mine:
            self._mine.pop(group, None)

    def pools(self, group: bytes, index: int, demand: Resources) -> list[Pool]:
        """The pools here that a demand for bundle `index` (-1: any) may be served from.

        Best first: bundles with GPUs are avoided by demands without any.
        """
        mine = self._mine.get(group, {})
        if index >= 0:
            return [mine[index].pool] if index in mine else []
        pools = [mine[i].pool for i in sorted(mine)]
        return sorted(pools, key=lambda pool: wastes_gpus(pool.total, demand))

    def index_of(self, group: bytes, pool: Pool) -> int:
        """The index of the bundle that a pool is; -1: none of the group's."""
        for index, bundle in self._mine.get(group, {}).items():
            if bundle.pool is pool:
                return index
        return -1

    def state_of(self, group: bytes) -> actors.GroupIs | None:
        """What the head says about a group; None: it was asked and has not answered."""
        if group not in self._asked:
            self._asked.add(group)
            self._send(HEAD, actors.WatchGroup(group))
        return self._known.get(group)

    def on_group_is(self, message: actors.GroupIs) -> None:
        """The head tells a group's state."""
        self._known[message.group] = message

    def groups(self) -> list[bytes]:
        """Groups that have bundles here."""
        return list(self._mine)
