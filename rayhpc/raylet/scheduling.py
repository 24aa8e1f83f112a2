"""Which node should serve a scheduling class: pure functions of the cluster view.

Called by `leases` for requests and, when the view changes, for those that wait.  Default: here
while there is room, then any node with room; spread: round robin over the nodes with room, else
where fewest wait; node affinity, labels and bundles narrow the choice.
"""

from __future__ import annotations

from dataclasses import dataclass

from rayhpc.raylet.view import ClusterView, NodeView
from rayhpc.wire.address import NodeNumber
from rayhpc.wire.feasibility import explain, in_words, labels_match
from rayhpc.wire.messages.common import Resources, SchedulingClass


@dataclass(frozen=True)
class Here:
    """This node, as it is now: the view is of the others.

    `room`: it could serve the request at once; `waiting`: how many requests wait, which only a
    class that spreads needs to know; `serves`: it takes new work (else it is leaving).
    """

    room: bool = False
    waiting: int = 0
    serves: bool = True


@dataclass(frozen=True)
class Choice:
    """Where to go: `node` serves at once (`now`) or is where to wait; 0: nowhere, never.

    `stuck`: no node that is here can ever serve it; it waits for the cluster to change.  `text`
    says why, or, with node 0, why it is refused.
    """

    node: NodeNumber
    now: bool = False
    stuck: bool = False
    text: str = ""


def choose(wanted: SchedulingClass, view: ClusterView, here: Here, turn: int) -> Choice:
    """Where a request of class `wanted` should go (not for placement groups).

    Args:
        wanted: what it asks for.
        view: the cluster.
        here: this node.
        turn: counts the requests of this kind that were given a node with room, for round robin.
    """
    strategy, demand = wanted.strategy, wanted.resources
    if strategy.kind == "node":
        target = view.with_id(strategy.node)
        if target is not None and target.could_ever(demand):
            return _settle([target], demand, view, here, turn, spread=False)
        if not strategy.soft:
            return Choice(0, text=_affinity_text(strategy.node, target, demand))
    nodes = [
        x
        for x in view.nodes.values()
        if (here.serves or x.info.number != view.me) and labels_match(x.info, strategy.hard)
    ]
    if not any(x.could_ever(demand) for x in nodes):
        known = [x.info for x in view.nodes.values()]
        return Choice(view.me, stuck=True, text=explain(known, demand, strategy))
    wished = [x for x in nodes if labels_match(x.info, strategy.wish)] if strategy.wish else []
    spread = strategy.kind == "spread"
    if any(x.could_ever(demand) for x in wished):
        first = _settle(wished, demand, view, here, turn, spread)
        second = _settle(nodes, demand, view, here, turn, spread)
        return second if second.now and not first.now else first
    return _settle(nodes, demand, view, here, turn, spread)


def _settle(
    nodes: list[NodeView],
    demand: Resources,
    view: ClusterView,
    here: Here,
    turn: int,
    spread: bool,
) -> Choice:
    """One of these nodes, some of which could do it: one with room, else where to wait."""
    me = view.me
    roomy = [
        x.info.number for x in nodes if (here.room if x.info.number == me else x.has_room(demand))
    ]
    if roomy:
        if me in roomy and not spread:
            return Choice(me, now=True)
        return Choice(roomy[turn % len(roomy)], now=True)
    feasible = [x for x in nodes if x.could_ever(demand)]
    if not spread and any(x.info.number == me for x in feasible):
        return Choice(me)
    return Choice(min(feasible, key=lambda x: _crowd(x, me, here)).info.number)


def _crowd(node: NodeView, me: NodeNumber, here: Here) -> tuple[int, bool]:
    """How many wait there; this node before others with as many."""
    away = node.info.number != me
    return node.pending if away else here.waiting, away


def _affinity_text(node_id: str, target: NodeView | None, demand: Resources) -> str:
    if target is None:
        return (
            f"The node {node_id} that the task is bound to is not in the cluster (any more): bind "
            "it to another, or let it go elsewhere (soft=True)."
        )
    if target.draining:
        return f"The node {node_id} that the task is bound to is leaving the cluster."
    return (
        f"The node {node_id} that the task is bound to can never meet the demand of "
        f"{in_words(demand)}: it has {in_words(target.info.total)}."
    )
