"""Which node an actor goes to: pure decisions over the head's account of free resources.

Used by `waiting`.  A `Picker` orders the candidates for one demand once and then hands out node
after node, so that placing many equal actors does not examine all nodes for each.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rayhpc.head.nodes import NodeRecord
from rayhpc.wire.address import NodeNumber
from rayhpc.wire.feasibility import can_ever, fits, labels_match
from rayhpc.wire.messages.common import Resources, Strategy

# A node counts as empty up to this share in use: work is packed up to it, then spread.
PACKED_TO = 0.5

Rank = tuple[float, ...]


class Demand(NamedTuple):
    """What equal actors need.

    `placing` must be free where they start, `holding` is what they keep.  If no node has all of
    `placing` free, a node that could have it and has `holding` free will do: an actor that holds
    nothing never waits for others to end.  If not even that is free, a node that can recall it
    from tasks will do: otherwise actors would wait for as long as there are tasks.  `near` is the
    owner's node, `avoid` one that has just reported that it has no room.
    """

    placing: Resources
    holding: Resources
    strategy: Strategy
    near: NodeNumber = 0
    avoid: NodeNumber = 0


def rank_of(demand: Demand, at: float, node: NodeRecord) -> Rank | None:
    """How well a node suits at a time (since 1970), lower is better; None: not now, or never."""
    strategy = demand.strategy
    if not can_ever(node.info, demand.placing, strategy, at):
        return None
    crowded = not fits(node.free, demand.holding)
    if crowded and not fits(node.without_tasks(), demand.holding):
        return None
    tight = not fits(node.free, demand.placing)
    unwished = not labels_match(node.info, strategy.wish)
    elsewhere = strategy.kind == "node" and node.info.node_id != strategy.node
    share = load(node, demand.placing)
    avoided = node.number == demand.avoid
    wasted = "GPU" in node.info.total and "GPU" not in demand.placing
    if strategy.wish and not unwished:
        wasted = False  # asking for this very node outweighs sparing GPUs
    first = (
        float(elsewhere),
        # Capacity held by idle workers of other nodes comes first, unless it could not be had
        # there.
        float(crowded and (wasted or avoided)),
        float(wasted and strategy.kind != "spread"),
        float(crowded),
        float(avoided),
        float(tight),
        float(unwished),
    )
    if strategy.kind == "spread":
        # Actors that need nothing are spread by their number.
        return (*first, share, float(node.actors))
    packed = 0.0 if share <= PACKED_TO else share
    return (*first, packed, float(node.number != demand.near))


def load(node: NodeRecord, wanted: Resources) -> float:
    """The share of the scarcest wanted resource that would be in use with `wanted` placed there."""
    total, free, lent = node.info.total, node.free, node.lent
    return max(
        (
            (total[name] - free.get(name, 0) + lent.get(name, 0) + amount) / total[name]
            for name, amount in wanted.items()
            if total.get(name)
        ),
        default=0.0,
    )


class Picker:
    """Hands out nodes for equal demands, best first.

    A rank can only get worse while nodes are handed out and charged, so the heap's first entry is
    the best one if its rank is unchanged.

    Args:
        candidates: the nodes to choose from.
        rank: how well a node suits now.
        random: breaks ties if `shuffle` is set; otherwise the lower number wins.
        shuffle: whether to choose at random among equals.
    """

    def __init__(
        self,
        candidates: Iterable[NodeRecord],
        rank: Callable[[NodeRecord], Rank | None],
        random: random.Random,
        shuffle: bool = False,
    ) -> None:
        self._rank = rank
        self._heap: list[tuple[Rank, float, NodeNumber, NodeRecord]] = []
        for node in candidates:
            found = rank(node)
            if found is not None:
                tie = random.random() if shuffle else 0.0
                self._heap.append((found, tie, node.number, node))
        heapq.heapify(self._heap)

    def pick(self) -> NodeRecord | None:
        """The best node now, or None; what is placed there must be charged before the next call."""
        heap = self._heap
        while heap:
            rank, tie, number, node = heap[0]
            now = self._rank(node)
            if now is None:
                heapq.heappop(heap)
            elif now > rank:
                heapq.heapreplace(heap, (now, tie, number, node))
            else:
                return node
        return None
