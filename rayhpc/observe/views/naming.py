"""What nodes are called in views: by host name, or by address where several share a name."""

from __future__ import annotations

from collections import Counter

from rayhpc.observe.snapshot import Snapshot
from rayhpc.wire.messages.listings import NodeState


def node_names(snapshot: Snapshot) -> dict[int, str]:
    """The name of each node, by its number."""
    return names_of(snapshot.nodes)


def names_of(nodes: list[NodeState]) -> dict[int, str]:
    """The same for a list of nodes."""
    shared = Counter(x.info.hostname for x in nodes)
    return {
        x.info.number: x.info.hostname if shared[x.info.hostname] == 1 else x.info.ip for x in nodes
    }


def name_of(names: dict[int, str], number: int) -> str:
    """A node's name, even if the node is no longer known."""
    return names.get(number) or f"node {number}"
