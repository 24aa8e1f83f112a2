"""Where a request for a worker in a placement group goes: pure functions of what is known.

Called by `leases`, like `scheduling` for all other requests.  Without an index a demand takes any
bundle that fits, avoiding those with GPUs if it needs none.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from rayhpc.raylet.lease_records import PendingLease
from rayhpc.raylet.resources import GPU, Pool, shortage, wastes_gpus
from rayhpc.raylet.view import ClusterView
from rayhpc.wire.address import NodeNumber
from rayhpc.wire.feasibility import lasts
from rayhpc.wire.messages import actors, leases
from rayhpc.wire.messages.common import Resources


@dataclass(frozen=True)
class GroupChoice:
    """The node to wait at or, if `refusal` is not 0, why it is refused (as in `LeaseRefused`)."""

    node: NodeNumber
    refusal: int = 0
    text: str = ""


def choose(
    request: PendingLease, state: actors.GroupIs | None, me: NodeNumber, pools: list[Pool]
) -> GroupChoice:
    """Where a request goes.

    Args:
        request: the request.
        state: what the head says about its group; None: it has not answered yet.
        me: this node.
        pools: the bundles here that it may be served from.
    """
    strategy = request.wanted.strategy
    if state is None or state.state in (actors.GROUP_PENDING, actors.GROUP_RESCHEDULING):
        return GroupChoice(me)
    if state.state == actors.GROUP_REMOVED:
        return GroupChoice(0, leases.GROUP_REMOVED, "The placement group was removed.")
    if strategy.bundle >= len(state.nodes):
        text = f"The placement group has {len(state.nodes)} bundles, none {strategy.bundle}."
        return GroupChoice(0, leases.UNSCHEDULABLE, text)
    if strategy.bundle >= 0:
        return GroupChoice(state.nodes[strategy.bundle])
    if request.hops or _is_best_here(request.resources, state, me, pools):
        return GroupChoice(me)
    return GroupChoice(next_node(request.resources, state, me))


def next_node(demand: Resources, state: actors.GroupIs | None, me: NodeNumber) -> NodeNumber:
    """The group's node to try after this one; this one if there is no other."""
    nodes = _in_turn(demand, state) if state is not None else []
    after_me = nodes.index(me) + 1 if me in nodes else 0
    return nodes[after_me % len(nodes)] if nodes else me


def lasting(state: actors.GroupIs, view: ClusterView, seconds: float, at: float) -> actors.GroupIs:
    """A group without the nodes that end before what starts now and runs for so long."""
    nodes = [
        number if node is None or lasts(node.info.labels, seconds, at) else 0
        for number in state.nodes
        for node in (view.nodes.get(number),)
    ]
    return msgspec.structs.replace(state, nodes=nodes)


def _is_best_here(
    demand: Resources, state: actors.GroupIs, me: NodeNumber, pools: list[Pool]
) -> bool:
    """Whether a bundle here can serve it now, and no other node's bundle suits better."""
    fitting = [pool for pool in pools if pool.fits(demand)]
    if not fitting or not all(wastes_gpus(pool.total, demand) for pool in fitting):
        return bool(fitting)
    return not any(
        node not in (me, 0) and not shortage(bundle, demand) and not bundle.get(GPU)
        for node, bundle in zip(state.nodes, state.bundles, strict=False)
    )


def _in_turn(demand: Resources, state: actors.GroupIs) -> list[NodeNumber]:
    """A group's nodes in the order in which a demand for any bundle tries them: GPUs last."""
    waste: dict[NodeNumber, bool] = {}
    for node, bundle in zip(state.nodes, state.bundles, strict=False):
        useless = wastes_gpus(bundle, demand) or bool(shortage(bundle, demand))
        waste[node] = waste.get(node, True) and useless
    waste.pop(0, None)
    return sorted(waste, key=lambda node: (waste[node], node))
