"""Why the nodes of the cluster can never hold a placement group, in words.

Used by `groups`.  Pure functions.
"""

from __future__ import annotations

from rayhpc.head.bundles import Bundle
from rayhpc.head.nodes import NodeRecord
from rayhpc.wire.feasibility import explain, sum_of
from rayhpc.wire.messages.common import Strategy


def why_never(strategy: str, wanted: list[Bundle], nodes: list[NodeRecord], used: int) -> str:
    """Why these bundles fit on no nodes like these; `used` have some of the group's already."""
    infos = [node.info for node in nodes]
    for bundle in wanted:
        text = explain(infos, bundle.resources, Strategy("labels", hard=list(bundle.conditions)))
        if text:
            return f"bundle {bundle.number}: {text}"
    if strategy == "STRICT_PACK":
        total = sum_of(bundle.resources for bundle in wanted)
        text = explain(infos, total, Strategy())
        return f"STRICT_PACK requires all bundles on one node: {text or 'the labels allow none'}"
    if strategy == "STRICT_SPREAD":
        return (
            f"STRICT_SPREAD requires a separate node for each of {len(wanted) + used} bundles, but "
            f"the cluster has {len(nodes)} suitable nodes; add nodes or ask for fewer bundles"
        )
    return "its bundles together are more than the whole cluster has; add nodes or ask for less"
