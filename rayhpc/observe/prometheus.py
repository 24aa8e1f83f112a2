"""A cluster's own figures in Prometheus' terms.

Used by `rayhpc metrics`.  A pure function of what the head says; rows are those of `util.metrics`,
so that they can be combined with a program's own metrics.
"""

from __future__ import annotations

from collections.abc import Iterator

from rayhpc.util.metrics import Series
from rayhpc.wire.messages.common import UNIT
from rayhpc.wire.messages.listings import ClusterState, NodeState

# Resources that merely name a node are not an amount of anything.
_NAMES_A_NODE = "node:"


def rows(state: ClusterState) -> list[Series]:
    """All figures, grouped by metric; each has the tag `cluster`."""
    found = [*_of_cluster(state), *_of_nodes(state.nodes)]
    found.sort(key=lambda row: row.name)
    for row in found:
        row.tags.insert(0, ("cluster", state.cluster_id))
    return found


def _gauge(name: str, what: str, value: float, **tags: str) -> Series:
    return Series(f"rayhpc_{name}", "gauge", what, list(tags.items()), [value])


def _counter(name: str, what: str, value: float, **tags: str) -> Series:
    return Series(f"rayhpc_{name}_total", "counter", what, list(tags.items()), [value])


def _of_cluster(state: ClusterState) -> Iterator[Series]:
    yield _gauge("started_seconds", "When the cluster started, since 1970.", state.started)
    for alive in (True, False):
        count = sum(x.alive == alive for x in state.nodes)
        yield _gauge("nodes", "Nodes.", count, state="alive" if alive else "gone")
    for name, count in state.actors.items():
        yield _gauge("actors", "Actors by state.", count, state=name.lower())
    for name, count in state.groups.items():
        yield _gauge("placement_groups", "Placement groups by state.", count, state=name.lower())
    yield _gauge("programs", "Programs that are attached.", state.jobs)
    for _, count, reason in state.demand:
        yield _gauge("pending", "What waits, by reason.", count, reason=reason)
    yield _counter("errors", "Errors inside the head and the raylets.", state.errors, node="head")


def _of_nodes(nodes: list[NodeState]) -> Iterator[Series]:
    for node in nodes:
        if not node.alive:
            continue
        name, ip = node.info.hostname, node.info.ip
        for resource, total in node.info.total.items():
            if resource.startswith(_NAMES_A_NODE):
                continue
            free = node.available.get(resource, 0)
            tags = {"node": name, "ip": ip, "resource": resource}
            yield _gauge("resource", "What a node has.", total / UNIT, **tags)
            yield _gauge("resource_free", "What of it is free.", free / UNIT, **tags)
        here = {"node": name, "ip": ip}
        size, used, spilled = node.info.store_bytes, node.store_used, node.store_spilled
        yield _gauge("object_store_bytes", "The object store's size.", size, **here)
        yield _gauge("object_store_used_bytes", "What lies in it.", used, **here)
        yield _gauge("object_store_spilled_bytes", "What lies on disk.", spilled, **here)
        moved = node.moved
        yield _counter("pulled_objects", "Objects from other nodes.", moved.pulled, **here)
        yield _counter("pulled_bytes", "Their bytes.", moved.pulled_bytes, **here)
        yield _counter("spilled_objects", "Objects that went to disk.", moved.spilled, **here)
        yield _counter("spilled_bytes", "Their bytes.", moved.spilled_bytes, **here)
        yield _gauge("memory_used_bytes", "Memory that its limit counts.", node.memory, **here)
        yield _gauge("memory_limit_bytes", "The limit.", node.memory_limit, **here)
        yield _gauge("workers", "Worker processes.", node.workers, **here)
        yield _gauge("leases_waiting", "Leases that wait for resources.", node.pending, **here)
        what = "Errors inside the head and the raylets."
        yield _counter("errors", what, node.errors, **here)
