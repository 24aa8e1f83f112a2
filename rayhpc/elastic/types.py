"""What the planner is told and what it decides, as data.

Used by `plan`, by `loop`, and by the providers, which know `NodeType` and `Machine` alone.  Amounts
of resources are in units of 1/10000, as in all messages (`wire.messages.common.UNIT`); times are in
seconds.

A **machine** is what a provider was asked for; from then on it is known by the name it was asked
for under.  A **node** is a machine (or the head's own) that has joined the cluster; its label
`MACHINE_LABEL` says which machine it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from rayhpc.wire.messages.common import Labels, Resources

#: The label by which a node says which machine it is; whatever starts a node there sets it.
MACHINE_LABEL = "rayhpc.io/machine"
#: The label with the name of its node type.
TYPE_LABEL = "rayhpc.io/node-type"


@dataclass(frozen=True)
class NodeType:
    """One kind of machine, and how many of it there may be.

    Attributes:
        name: unique in its cluster; letters, digits, `.`, `_` and `-`.
        resources: what a node of it has; empty: unknown until the first one has joined.
        labels: what it has as labels, besides those that every node has.
        min_nodes: so many are always there, or asked for.
        max_nodes: never more than that, running, pending and asked for together.
        idle_seconds: how long a node has been idle before it is drained.
        startup_seconds: how long a machine usually takes from the ask to its first task.
        join_seconds: a machine that is there but has not joined after this time is given back.
        keep_pending_seconds: a machine that is not there yet is cancelled once nobody has wanted it
            for so long.
        life_seconds: how long a machine lives from its start; None: without limit.  Its node takes
            no new work some while before, and nodes that began together not at the same time.
        options: the provider's own words for it, such as `node_config` of a cluster's YAML.
        setup: shell commands that its machines run before their nodes start.
    """

    name: str
    resources: Resources = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    min_nodes: int = 0
    max_nodes: int = 1
    idle_seconds: float = 60.0
    startup_seconds: float = 30.0
    join_seconds: float = 300.0
    keep_pending_seconds: float = 300.0
    life_seconds: float | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    setup: tuple[str, ...] = ()


class MachineState(Enum):
    """What a provider says about a machine."""

    #: It has been asked for and is not there yet.
    PENDING = "pending"
    #: It is there: its node may have joined, or be about to.
    RUNNING = "running"
    #: It is over, or the place refuses to provide it; `Machine.reason` says why.
    ENDED = "ended"


@dataclass(frozen=True)
class Machine:
    """One machine as its provider sees it.

    Attributes:
        name: the name it was asked for under.
        node_type: its type's name.
        state: what has become of it.
        address: where it is: an IP address or host name, if known.
        reason: why it is pending, or how it ended, in the place's own words.
        permanent: it cannot come to be however long one waits: the type is paused.
    """

    name: str
    node_type: str
    state: MachineState
    address: str | None = None
    reason: str | None = None
    permanent: bool = False


@dataclass(frozen=True)
class Demand:
    """Equal tasks or actors that wait for room.

    Attributes:
        resources: what each of them needs.
        count: how many there are.
        conditions: what must hold of the labels of the node they run on.
        seconds: how long each runs at most: it needs a node that lasts so long; None: unknown.
        waits_for: where it waits, in words, for explanations.
    """

    resources: Resources
    count: int = 1
    conditions: tuple[Labels, ...] = ()
    seconds: float | None = None
    waits_for: str = "tasks"


@dataclass(frozen=True)
class Gang:
    """What needs room at the same time: the unplaced bundles of a placement group.

    Attributes:
        bundles: what each needs; one bundle is always on one node.
        strategy: PACK, SPREAD, STRICT_PACK (all on one node) or STRICT_SPREAD (each on its own).
        conditions: of each bundle, what must hold of its node's labels.
    """

    bundles: tuple[Resources, ...]
    strategy: str = "PACK"
    conditions: tuple[tuple[Labels, ...], ...] = ()


@dataclass(frozen=True)
class Wanted:
    """Everything the cluster's programs want, seen at one instant.

    Attributes:
        tasks: what waits for leases, and actors that wait for a node.
        gangs: placement groups that wait.
        floor: room that a program wants in any case (`autoscaler.sdk.request_resources`), in use or
            not.
    """

    tasks: tuple[Demand, ...] = ()
    gangs: tuple[Gang, ...] = ()
    floor: tuple[Resources, ...] = ()


@dataclass(frozen=True)
class NodeView:
    """A living node of the cluster as the head sees it, at the same instant as `Wanted`.

    Attributes:
        node_id: its id in the cluster.
        machine: the machine's name; empty: nobody's to give back, such as the head's own.
        node_type: its type's name, or empty.
        total: what it has.
        free: what of it is free.
        labels: its labels.
        busy: why it is in use, in words, by its raylet's own account; empty: it is idle.
        idle_seconds: how long it has been idle.
        keeps: what it holds that would be lost with it, in words, such as the only copies of
            objects; empty: nothing.
        draining: it takes no new work.
    """

    node_id: str
    total: Resources
    free: Resources
    machine: str = ""
    node_type: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    busy: str = ""
    idle_seconds: float = 0.0
    keeps: str = ""
    draining: bool = False


@dataclass(frozen=True)
class Seen:
    """Demand and supply at one instant.

    Attributes:
        wanted: what programs want.
        nodes: the living nodes.
        machines: what the provider says of its machines; None: it was not asked this time.
    """

    wanted: Wanted
    nodes: Sequence[NodeView]
    machines: Sequence[Machine] | None = None


@dataclass(frozen=True)
class Ask:
    """Machines to ask a provider for, and why."""

    node_type: str
    names: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Line:
    """One sentence about what the planner does or does not do, for `status` and the log.

    `node_type` is what it is about (empty: the whole cluster).  `detail` is what changes from one
    plan to the next although nothing has happened, such as for how long: a `text` that the plan
    before had as well is not logged again.  `is_news`: worth a line of the log, not only of status.
    """

    text: str
    node_type: str = ""
    detail: str = ""
    is_news: bool = True


@dataclass(frozen=True)
class Plan:
    """What is to be done now; all of it idempotent, so doing it twice does no harm.

    Attributes:
        asks: machines to ask for.
        cancels: names of machines, not there yet, that are no longer wanted.
        drains: names of machines whose nodes are to take no new work.
        undrains: names of machines whose nodes may take work again.
        releases: names of machines to give back: their nodes have drained, or never joined.
        explanation: why all that, and why not more.
    """

    asks: tuple[Ask, ...] = ()
    cancels: tuple[str, ...] = ()
    drains: tuple[str, ...] = ()
    undrains: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    explanation: tuple[Line, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.asks or self.cancels or self.drains or self.undrains or self.releases)


def check_types(types: Sequence[NodeType]) -> None:
    """Refuse types that contradict themselves.

    Raises:
        ValueError: naming the type, and what to change.
    """
    names = [each.name for each in types]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"there are two node types called {name!r}: rename one")
    for each in types:
        _check_type(each)


def _check_type(each: NodeType) -> None:
    least, most = each.min_nodes, each.max_nodes
    if not each.name or not all(c.isalnum() or c in "._-" for c in each.name):
        raise ValueError(f"{each.name!r} is not a node type's name: use letters, digits, . _ and -")
    if least < 0 or most < 0:
        raise ValueError(
            f"node type {each.name}: at least {least} and at most {most} nodes: give numbers from 0"
        )
    if least > most:
        raise ValueError(
            f"node type {each.name}: at least {least} nodes and at most {most}: the minimum must "
            "not be above the maximum"
        )
