"""Which machines a cluster is to have, where its provider makes them: a pure function.

Called by `cli.rented` with the cluster's file and what its place says is there.  What is done on a
machine once it runs is decided by `plan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rayhpc.clusters.node_types import head_type, max_workers, worker_types
from rayhpc.clusters.read import ClusterFile
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers.machines import HEAD, Rented, print_of

# Ray's own, if the file does not say.
_IDLE_S = 300.0
# From the ask to the node: the machine starts, and its set-up commands run.
_STARTUP_S, _JOIN_S = 120.0, 1800.0


@dataclass(frozen=True)
class MachineTypes:
    """The head's type, and the workers'."""

    head: NodeType
    workers: tuple[NodeType, ...]

    @property
    def all(self) -> tuple[NodeType, ...]:
        """All of them."""
        return (self.head, *self.workers)


@dataclass(frozen=True)
class MachinePlan:
    """What to do: machines to keep, to ask for (name and type), and to end (and why)."""

    keep: tuple[Rented, ...]
    ask: tuple[tuple[str, NodeType], ...]
    end: tuple[tuple[Rented, str], ...]


def machine_types(file: ClusterFile) -> MachineTypes:
    """The types; `min_workers` at the top is a floor for all of them together.

    Raises:
        ClusterFileError: they contradict each other.
    """
    config = file.config
    workers = worker_types(file, _IDLE_S)
    if any(each.name == HEAD for each in workers):
        text = f"workers' machines of a type called {HEAD!r} would be taken for the head's: rename"
        raise file.fault(("available_node_types", HEAD), text)
    name, head = head_type(config)
    least = min(config.min_workers or 0, max_workers(config))
    return MachineTypes(
        NodeType(name, min_nodes=1, max_nodes=1, options=head.node_config),
        tuple(_patient(each) for each in _raised(workers, least)),
    )


def plan_machines(types: MachineTypes, most: int, there: Sequence[Rented]) -> MachinePlan:
    """Decide for every machine.

    Args:
        types: what is wanted: the head, and each type's least number.
        most: how many workers there may be; what has been added by demand stays up to that.
        there: what the place says.
    """
    keep: list[Rented] = []
    ask: list[tuple[str, NodeType]] = []
    end: list[tuple[Rented, str]] = []
    living = [each for each in there if each.state is not MachineState.ENDED]
    left = most
    for kind in types.all:
        is_head = kind is types.head
        mine = sorted((x for x in living if _is(x, kind, is_head)), key=_number)
        good = [x for x in mine if x.made_of == print_of(kind)]
        end += [(x, "changed: node_config") for x in mine if x not in good]
        allowed = 1 if is_head else min(kind.max_nodes, left)
        keep += good[:allowed]
        end += [(x, "the file does not want so many") for x in good[allowed:]]
        missing = max(0, min(kind.min_nodes, allowed) - len(good))
        ask += [(name, kind) for name in _fresh(kind, is_head, missing, there)]
        left -= 0 if is_head else min(len(good), allowed) + missing
    known = {kind.name for kind in types.all}
    end += [(x, "the file has no such type") for x in living if x.node_type not in known]
    return MachinePlan(tuple(keep), tuple(ask), tuple(end))


def is_head(machine: Rented) -> bool:
    """Whether the head runs there."""
    return machine.name.startswith(f"{HEAD}-")


def _is(machine: Rented, kind: NodeType, head: bool) -> bool:
    return machine.node_type == kind.name and is_head(machine) == head


def _fresh(kind: NodeType, head: bool, count: int, there: Sequence[Rented]) -> Iterable[str]:
    """Names that no machine has or has had: those of ended ones are not given again."""
    base = HEAD if head else kind.name
    used = [_number(x) for x in there if x.name.rpartition("-")[0] == base]
    first = max(used, default=0) + 1
    return (f"{base}-{number}" for number in range(first, first + count))


def _number(machine: Rented) -> int:
    text = machine.name.rpartition("-")[2]
    return int(text) if text.isdecimal() else 0


def _raised(types: list[NodeType], least: int) -> Iterable[NodeType]:
    """Types with their least numbers raised, the first's first, until there are so many."""
    short = least - sum(each.min_nodes for each in types)
    for each in types:
        more = max(0, min(short, each.max_nodes - each.min_nodes))
        short -= more
        yield replace(each, min_nodes=each.min_nodes + more)


def _patient(kind: NodeType) -> NodeType:
    return replace(kind, startup_seconds=_STARTUP_S, join_seconds=_JOIN_S)
