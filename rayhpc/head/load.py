"""What waits in the cluster and what its nodes are in use for, at one instant.

Used by `questions`, for whoever decides how many nodes there should be.  Reads the tables only.
"""

from __future__ import annotations

from collections.abc import Iterator

from rayhpc.head.actors import Actors
from rayhpc.head.groups import Groups
from rayhpc.head.nodes import Nodes
from rayhpc.wire.messages.common import DEFAULT_STRATEGY, Strategy
from rayhpc.wire.messages.load import ClusterLoad, NodeLoad, Waiting


def load_of(nodes: Nodes, actors: Actors, groups: Groups) -> ClusterLoad:
    """Demand and supply."""
    loads = [
        NodeLoad(node.info, node.free, node.last.use, bool(node.leaving))
        for node in nodes.alive.values()
    ]
    return ClusterLoad(loads, [*_leases(nodes), *_actors(actors)], groups.waiting())


def _leases(nodes: Nodes) -> Iterator[Waiting]:
    for node in nodes.alive.values():
        last = node.last
        for i, (resources, count, _) in enumerate(last.demand):
            strategy = last.strategies[i] if i < len(last.strategies) else DEFAULT_STRATEGY
            if _may_use_new_nodes(strategy):
                yield Waiting(resources, count, strategy)


def _actors(actors: Actors) -> Iterator[Waiting]:
    for kind in actors.waiting.kinds():
        demand = kind.demand
        if _may_use_new_nodes(demand.strategy):
            yield Waiting(demand.placing, len(kind.actors), demand.strategy, is_actor=True)


def _may_use_new_nodes(strategy: Strategy) -> bool:
    """Not what waits for room in its placement group, or for the one node that it is bound to."""
    return strategy.kind != "group" and (strategy.kind != "node" or strategy.soft)
