"""Which node an actor goes to: pure decisions over the head's account of free resources.

Used by `waiting`.  A `Picker` orders the candidates of one demand once and then hands out node
after node, so that placing many equal actors does not look at all nodes for each.
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

# Up to this share in use a node counts as empty: work is packed to here, then spread.
PACKED_TO = 0.5

Rank = tuple[float, ...]


class Demand(NamedTuple):
    """What equal actors want.

    `placing` must be free where they start, `holding` is what they keep.  Where nothing has all
    of `placing` free, a node that could have it and has `holding` free will do: an actor that
    holds nothing never waits for others to end.  Where not even that is free, a node that can
    call it back from tasks: else actors would wait for as long as there are tasks.  `near` is the
    owner's node, `avoid` one that has just said it has no room.
    """

    placing: Resources
    holding: Resources
    strategy: Strategy
    near: NodeNumber = 0
    avoid: NodeNumber = 0


def rank_of(demand: Demand, node: NodeRecord) -> Rank | None:
    """How well a node suits, least is best; None: not now, or never."""
    strategy = demand.strategy
    if not can_ever(node.info, demand.placing, strategy):
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
        wasted = False  # who wishes for this node says more than that GPUs are to be spared
    first = (
        float(elsewhere),
        # What idle workers have on other nodes comes first, unless it was not to be had there.
        float(crowded and (wasted or avoided)),
        float(wasted and strategy.kind != "spread"),
        float(crowded),
        float(avoided),
        float(tight),
        float(unwished),
    )
    if strategy.kind == "spread":
        # Those that ask for nothing are told apart by how many there are.
        return (*first, share, float(node.actors))
    packed = 0.0 if share <= PACKED_TO else share
    return (*first, packed, float(node.number != demand.near))


def load(node: NodeRecord, wanted: Resources) -> float:
    """The share of the scarcest wanted resource that would be in use with `wanted` there."""
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
    """Hands out nodes for equal demands, the best first.

    A rank can only grow worse while nodes are handed out and charged, so the heap's first entry
    is the best one as soon as its rank is still what it was.

    Args:
        candidates: the nodes to choose from.
        rank: how well a node suits now.
        random: breaks ties where `shuffle` is set; else the lower number wins.
        shuffle: whether equals are taken at random.
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
        """The best node now, or None; what is placed there must be charged before the next."""
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
