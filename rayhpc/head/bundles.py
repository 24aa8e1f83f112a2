"""Which nodes the bundles of a placement group go to: pure decisions, all or nothing.

Used by `groups`.  Equal bundles are handled together, so a group of a thousand bundles on a
thousand nodes costs nodes times kinds of bundles, not nodes times bundles.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from rayhpc.head.nodes import NodeRecord
from rayhpc.wire.address import NodeNumber
from rayhpc.wire.feasibility import add, fits, labels_match, subtract
from rayhpc.wire.messages.common import Labels, Resources

Room = Callable[[NodeRecord], Resources]
Places = dict[int, NodeRecord]
# How many bundles of the group a node already has.
Used = Mapping[NodeNumber, int]
_NONE: Used = {}


class Bundle(NamedTuple):
    """One bundle to place: its index in the group, its resources, its conditions."""

    number: int
    resources: Resources
    conditions: tuple[Labels, ...] = ()


class _Kind:
    """Equal bundles: what one takes, and which are not placed yet."""

    def __init__(self, bundle: Bundle) -> None:
        self.resources = bundle.resources
        self.conditions = bundle.conditions
        self.left: deque[int] = deque()


def choose(
    strategy: str,
    wanted: Iterable[Bundle],
    nodes: list[NodeRecord],
    room: Room,
    used: Used = _NONE,
) -> Places | None:
    """A node for each bundle, or None if they do not all fit.

    Args:
        strategy: PACK, SPREAD, STRICT_PACK or STRICT_SPREAD.
        wanted: the bundles to place.
        nodes: the nodes to choose from.
        room: what is free on a node (or would be if it were empty).
        used: the nodes that already have bundles of this group, and how many.
    """
    bundles = list(wanted)
    if strategy == "STRICT_PACK":
        return _on_one(bundles, [n for n in nodes if not used or n.number in used], room)
    if strategy == "PACK":
        together = _on_one(bundles, [n for n in nodes if n.number in used], room)
        together = together or _on_one(bundles, nodes, room)
        return together or _packed(_kinds(bundles, nodes, room), nodes, room, used)
    strict = strategy == "STRICT_SPREAD"
    if strict:
        nodes = [node for node in nodes if node.number not in used]
    return _spread(_kinds(bundles, nodes, room), nodes, room, used, strict)


def crowding(places: Places, used: Used = _NONE) -> int:
    """How uneven the group's spread would be; least if nodes have equally many bundles."""
    counts = Counter(used)
    counts.update(node.number for node in places.values())
    return sum(count * count for count in counts.values())


def _on_one(bundles: list[Bundle], nodes: list[NodeRecord], room: Room) -> Places | None:
    """All on one node: of those with room for all, the one they fill most."""
    total: Resources = {}
    for bundle in bundles:
        add(total, bundle.resources)
    conditions = [condition for bundle in bundles for condition in bundle.conditions]
    fitting = [n for n in nodes if fits(room(n), total) and labels_match(n.info, conditions)]
    if not fitting:
        return None
    best = min(fitting, key=lambda node: (_wasted(node, total), _slack(room(node), total)))
    return {bundle.number: best for bundle in bundles}


def _wasted(node: NodeRecord, wanted: Resources) -> bool:
    return "GPU" in node.info.total and "GPU" not in wanted


def _slack(free: Resources, wanted: Resources) -> float:
    """What would remain of the wanted resources, as fractions of what is free."""
    return sum(1 - amount / free[name] for name, amount in wanted.items() if free.get(name))


def _suits(node: NodeRecord, kind: _Kind, free: Resources) -> bool:
    return fits(free, kind.resources) and labels_match(node.info, kind.conditions)


def _kinds(bundles: list[Bundle], nodes: list[NodeRecord], room: Room) -> list[_Kind]:
    """The kinds of bundles, those that fit on the fewest nodes (then the largest) first."""
    kinds: dict[object, _Kind] = {}
    for bundle in bundles:
        conditions = tuple((x.key, x.op, tuple(x.values)) for x in bundle.conditions)
        key = (tuple(sorted(bundle.resources.items())), conditions)
        kinds.setdefault(key, _Kind(bundle)).left.append(bundle.number)
    fitting = {id(k): sum(_suits(n, k, room(n)) for n in nodes) for k in kinds.values()}
    return sorted(kinds.values(), key=lambda k: (fitting[id(k)], -sum(k.resources.values())))


def _packed(kinds: list[_Kind], nodes: list[NodeRecord], room: Room, used: Used) -> Places | None:
    """On few nodes: fill one after another, starting with those with most room."""
    total: Resources = {}
    for kind in kinds:
        for name, amount in kind.resources.items():
            total[name] = total.get(name, 0) + amount * len(kind.left)

    def order(node: NodeRecord) -> tuple[bool, bool, float]:
        free = room(node)
        share = sum(min(1.0, free.get(k, 0) / amount) for k, amount in total.items() if amount)
        return node.number not in used, _wasted(node, total), -share

    places: Places = {}
    for node in sorted(nodes, key=order):
        free = dict(room(node))
        for kind in kinds:
            while kind.left and _suits(node, kind, free):
                places[kind.left.popleft()] = node
                subtract(free, kind.resources)
        if not any(kind.left for kind in kinds):
            return places
    return None


def _spread(
    kinds: list[_Kind],
    nodes: list[NodeRecord],
    room: Room,
    used: Used,
    strict: bool,
) -> Places | None:
    """On many nodes: each bundle goes to a node with as few of the group's as possible."""
    counts = {node.number: used.get(node.number, 0) for node in nodes}
    free = {node.number: dict(room(node)) for node in nodes}
    # A node that suits few kinds is used before one that others may need.
    suited = {n.number: sum(_suits(n, k, free[n.number]) for k in kinds) for n in nodes}
    places: Places = {}
    for kind in kinds:
        heap = [
            (counts[n.number], suited[n.number], _slack_key(free[n.number], kind), n.number, n)
            for n in nodes
            if _suits(n, kind, free[n.number])
        ]
        heapq.heapify(heap)
        while kind.left:
            if not heap:
                return None
            _, _, _, number, node = heapq.heappop(heap)
            if strict and counts[number]:
                continue
            places[kind.left.popleft()] = node
            counts[number] += 1
            subtract(free[number], kind.resources)
            if not strict and _suits(node, kind, free[number]):
                key = _slack_key(free[number], kind)
                heapq.heappush(heap, (counts[number], suited[number], key, number, node))
    return places


def _slack_key(free: Resources, kind: _Kind) -> float:
    """Emptier nodes first."""
    return -_slack(free, kind.resources)
