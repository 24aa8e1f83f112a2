"""Actors waiting for a node, grouped by what they need.

Used by `actors`.  Equal actors are considered together, and a kind that found no node is tried
again only where room may have grown, so a long queue costs little while nothing changes.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator

import msgspec

from rayhpc.head.actor_table import ActorRecord
from rayhpc.head.placing import Demand
from rayhpc.wire.address import NodeNumber, ObjectId, node_of

RETRY_S = 0.02
RETRY_MAX_S = 1.0

_key = msgspec.msgpack.Encoder().encode


class Kind:
    """Equal actors that wait, oldest first.

    `fresh`: all nodes must be considered, not only those that have grown.  `reason` is why they
    wait, `possible` whether any node could ever hold them.
    """

    __slots__ = ("actors", "demand", "fresh", "key", "possible", "reason")

    def __init__(self, key: bytes, demand: Demand) -> None:
        self.key = key
        self.demand = demand
        self.actors: dict[ObjectId, ActorRecord] = {}
        self.fresh = True
        self.possible = True
        self.reason = ""


class Waiting:
    """The queue.

    Args:
        now: a monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kinds: dict[bytes, Kind] = {}
        self._kind_of: dict[ObjectId, Kind] = {}
        self._by_group: dict[bytes, dict[bytes, Kind]] = {}
        self._later: list[tuple[float, int, ActorRecord]] = []
        self._resting: dict[ObjectId, ActorRecord] = {}
        # By the node where they may still live.
        self._held: dict[NodeNumber, dict[ObjectId, ActorRecord]] = {}
        self._numbers = itertools.count()

    def add(self, actor: ActorRecord) -> None:
        """An actor needs a node now."""
        demand = _demand_of(actor)
        key = _key(demand)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = Kind(key, demand)
            if actor.group:
                self._by_group.setdefault(actor.group, {})[key] = kind
        kind.actors[actor.id] = actor
        kind.fresh = True
        self._kind_of[actor.id] = kind

    def add_later(self, actor: ActorRecord) -> None:
        """An actor was refused by a raylet: it needs a node, but not at once."""
        pause = min(RETRY_MAX_S, RETRY_S * 2 ** min(actor.tries, 10))
        self._resting[actor.id] = actor
        heapq.heappush(self._later, (self._now() + pause, next(self._numbers), actor))

    def hold(self, actor: ActorRecord) -> None:
        """An actor needs a node once nothing of `actor.held` can still run."""
        self._held.setdefault(actor.held, {})[actor.id] = actor

    def let_go(self, node: NodeNumber) -> list[ActorRecord]:
        """Those that were held because of that node, and wait no longer."""
        return list(self._held.pop(node, {}).values())

    def remove(self, actor: ActorRecord) -> None:
        """It no longer waits (or never did)."""
        self._resting.pop(actor.id, None)
        self._held.get(actor.held, {}).pop(actor.id, None)
        kind = self._kind_of.pop(actor.id, None)
        if kind is None:
            return
        del kind.actors[actor.id]
        if not kind.actors:
            del self._kinds[kind.key]
            same_group = self._by_group.get(actor.group, {})
            same_group.pop(kind.key, None)
            if not same_group:
                self._by_group.pop(actor.group, None)

    def wake_all(self) -> None:
        """Nodes are gone: consider everything afresh."""
        for kind in self._kinds.values():
            kind.fresh = True

    def wake_group(self, group: bytes) -> None:
        """A placement group has changed, or something in it has ended."""
        for kind in self._by_group.get(group, {}).values():
            kind.fresh = True

    def to_try(self, grown: bool) -> Iterator[Kind]:
        """The kinds worth trying; `grown`: some nodes may have more room than before."""
        self._end_rests()
        for kind in list(self._kinds.values()):
            if grown and kind.demand.strategy.seconds:
                kind.fresh = True  # the ends of all nodes have come nearer
            if kind.actors and (kind.fresh or (grown and not kind.demand.strategy.group)):
                yield kind

    def kinds(self) -> list[Kind]:
        """Everything that waits."""
        return list(self._kinds.values())

    def deadline(self) -> float | None:
        """When the first postponed actor is due."""
        return self._later[0][0] if self._later else None

    def _end_rests(self) -> None:
        while self._later and self._later[0][0] <= self._now():
            actor = heapq.heappop(self._later)[2]
            if self._resting.pop(actor.id, None) is not None:
                self.add(actor)


def _demand_of(actor: ActorRecord) -> Demand:
    spec = actor.spec
    strategy = spec.placing.strategy
    near = 0 if strategy.kind in ("spread", "group") else node_of(spec.owner)
    return Demand(spec.placing.resources, spec.holding, strategy, near, actor.avoid)
