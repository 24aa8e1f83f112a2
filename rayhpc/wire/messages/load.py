"""What the head answers to `cluster.Load`: demand and supply at one instant.

Made by `head.load`, read by `elastic`.
"""

from rayhpc.wire.messages.cluster import NodeUse
from rayhpc.wire.messages.common import Labels, NodeInfo, Record, Resources, Strategy


class NodeLoad(Record, frozen=True):
    """A living node: what of it is free, and what it is in use for."""

    info: NodeInfo
    available: Resources
    use: NodeUse
    draining: bool = False


class Waiting(Record, frozen=True):
    """Equal tasks or actors that wait, and where they may run."""

    resources: Resources
    count: int
    strategy: Strategy
    is_actor: bool = False


class WaitingGroup(Record, frozen=True):
    """A placement group's bundles that have no node, each with the label conditions of its own."""

    bundles: list[Resources]
    strategy: str
    conditions: list[list[Labels]]


class ClusterLoad(Record, frozen=True):
    """Demand and supply at one instant."""

    nodes: list[NodeLoad]
    waiting: list[Waiting]
    groups: list[WaitingGroup]
