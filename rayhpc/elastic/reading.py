"""From the head's answer to what the planner takes.

Used by `loop`.  Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from rayhpc.elastic.types import (
    MACHINE_LABEL,
    TYPE_LABEL,
    Demand,
    Gang,
    Machine,
    NodeView,
    Seen,
    Wanted,
)
from rayhpc.wire.messages.common import Resources
from rayhpc.wire.messages.load import ClusterLoad, NodeLoad, Waiting, WaitingGroup


def seen_in(
    load: ClusterLoad, floor: Sequence[Resources], machines: Sequence[Machine] | None
) -> Seen:
    """Demand and supply.

    Args:
        load: the head's answer.
        floor: room that programs want in any case.
        machines: what the provider says; None: it was not asked.
    """
    wanted = Wanted(tuple(map(_demand, load.waiting)), tuple(map(_gang, load.groups)), tuple(floor))
    return Seen(wanted, [_view(node) for node in load.nodes], machines)


def _demand(waiting: Waiting) -> Demand:
    what = "actors" if waiting.is_actor else "tasks"
    conditions = tuple(waiting.strategy.hard)
    seconds = waiting.strategy.seconds or None
    return Demand(waiting.resources, waiting.count, conditions, seconds, what)


def _gang(group: WaitingGroup) -> Gang:
    conditions = tuple(tuple(each) for each in group.conditions)
    return Gang(tuple(group.bundles), group.strategy, conditions)


def _view(node: NodeLoad) -> NodeView:
    info, use = node.info, node.use
    return NodeView(
        info.node_id,
        info.total,
        node.available,
        info.labels.get(MACHINE_LABEL, ""),
        info.labels.get(TYPE_LABEL, ""),
        info.labels,
        use.busy,
        use.idle_s,
        use.keeps,
        node.draining,
    )
