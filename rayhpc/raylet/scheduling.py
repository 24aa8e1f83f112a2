"""Which node should serve a scheduling class: pure functions of the cluster view.

Called by `leases` for requests and, when the view changes, for waiting ones.  Default: where the
data is while there is room or idle workers can be recalled, then here, then any node with room,
nodes with GPUs last for demands without any; spread: round robin over the nodes with room, else
where the fewest wait; node affinity, labels and bundles narrow the choice.
"""

from __future__ import annotations

from dataclasses import dataclass

from rayhpc.raylet.resources import wastes_gpus
from rayhpc.raylet.view import ClusterView, NodeView
from rayhpc.wire.address import NodeNumber
from rayhpc.wire.feasibility import explain, in_words, labels_match, lasts
from rayhpc.wire.messages.common import Resources, SchedulingClass, Strategy


@dataclass(frozen=True)
class Here:
    """This node's present state; the view covers the others.

    `room`: it could serve the request at once; `may`: it could once it has recalled what leases
    have (computed only if the data is here); `waiting`: the number of waiting requests, needed
    only for a class that spreads; `serves`: it takes new work (otherwise it is leaving);
    `at`: the time since 1970, for what says how long it runs.
    """

    room: bool = False
    may: bool = False
    waiting: int = 0
    serves: bool = True
    at: float = 0.0


@dataclass(frozen=True)
class Choice:
    """Where to go: `node` serves at once (`now`) or is where to wait; 0: nowhere, never.

    `stuck`: no present node can ever serve it; it waits for the cluster to change.  `text` says why
    or, with node 0, why it is refused.
    """

    node: NodeNumber
    now: bool = False
    stuck: bool = False
    text: str = ""


def choose(wanted: SchedulingClass, view: ClusterView, here: Here, turn: int) -> Choice:
    """Where a request of class `wanted` should go (not for placement groups).

    Args:
        wanted: the class.
        view: the cluster.
        here: this node.
        turn: the number of requests of this kind that were given a node with room, for round robin.
    """
    strategy, demand = wanted.strategy, wanted.resources
    if strategy.kind == "node":
        target = view.with_id(strategy.node)
        able = target is not None and target.could_ever(demand)
        if target is not None and able and _lasting([target], strategy, here):
            return _settle([target], wanted, view, here, turn)
        if not strategy.soft:
            if target is not None and able:
                return Choice(0, text=explain([target.info], demand, strategy, here.at))
            return Choice(0, text=_affinity_text(strategy.node, target, demand))
    nodes = [
        x
        for x in view.nodes.values()
        if (here.serves or x.info.number != view.me) and labels_match(x.info, strategy.hard)
    ]
    nodes = _lasting(nodes, strategy, here)
    if not any(x.could_ever(demand) for x in nodes):
        known = [x.info for x in view.nodes.values()]
        return Choice(view.me, stuck=True, text=explain(known, demand, strategy, here.at))
    wished = [x for x in nodes if labels_match(x.info, strategy.wish)] if strategy.wish else []
    if any(x.could_ever(demand) for x in wished):
        first = _settle(wished, wanted, view, here, turn)
        second = _settle(nodes, wanted, view, here, turn)
        return second if second.now and not first.now else first
    return _settle(nodes, wanted, view, here, turn)


def _lasting(nodes: list[NodeView], strategy: Strategy, here: Here) -> list[NodeView]:
    """Those that have as much time left as it wants."""
    if not strategy.seconds:
        return nodes
    return [x for x in nodes if lasts(x.info.labels, strategy.seconds, here.at)]


def _settle(
    nodes: list[NodeView],
    wanted: SchedulingClass,
    view: ClusterView,
    here: Here,
    turn: int,
) -> Choice:
    """Choose among these nodes, some of which could serve it: one with room, else where to wait."""
    me, demand = view.me, wanted.resources
    spread = wanted.strategy.kind == "spread"
    near = next((x for x in nodes if x.info.number == wanted.near), None)
    if near is not None and (here.may if wanted.near == me else near.may_have_room(demand)):
        return Choice(wanted.near, now=wanted.near != me or here.room)
    roomy = [x for x in nodes if (here.room if x.info.number == me else x.has_room(demand))]
    if roomy:
        numbers = [x.info.number for x in (roomy if spread else _sparing_gpus(roomy, demand))]
        if me in numbers and not spread:
            return Choice(me, now=True)
        return Choice(numbers[turn % len(numbers)], now=True)
    feasible = [x for x in nodes if x.could_ever(demand)]
    if not spread and any(x.info.number == me for x in feasible):
        return Choice(me)
    return Choice(min(feasible, key=lambda x: _crowd(x, me, here)).info.number)


def _sparing_gpus(nodes: list[NodeView], demand: Resources) -> list[NodeView]:
    """The nodes without GPUs, for a demand that needs none and has a choice."""
    return [x for x in nodes if not wastes_gpus(x.info.total, demand)] or nodes


def _crowd(node: NodeView, me: NodeNumber, here: Here) -> tuple[int, bool]:
    """How many wait there; on a tie, this node first."""
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
