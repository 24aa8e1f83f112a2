"""Object locations: which nodes have a copy, and object sizes.

Used through `util.locations` and `ray.experimental`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rayhpc.api.state.sources import Sources
from rayhpc.runtime.process import current
from rayhpc.wire.address import node_of
from rayhpc.wire.messages.cluster import StoreObjects
from rayhpc.wire.messages.listings import ObjectRow

Places = dict[Any, dict[str, Any]]


def get_object_locations(obj_refs: Sequence[Any], timeout_ms: int = -1) -> Places:
    """Which nodes' stores hold the objects.

    Args:
        obj_refs: references.
        timeout_ms: how long to wait for an answer; -1: 30 seconds.

    Returns:
        For each reference "node_ids" (hex; for a small value, which is in no store, this process's
        node; empty if it is not ready yet), "object_size" in bytes (None: not known yet) and
        "did_spill" (the only copy is on disk).

    Raises:
        RuntimeError: this process has joined no cluster.
        GetTimeoutError: no answer in time.
        TypeError: not references.
    """
    _check(obj_refs)
    found = _known_here(obj_refs)
    sources = Sources(30.0 if timeout_ms < 0 else timeout_ms / 1000)
    by_id = {ref.binary(): found[ref] for ref in obj_refs}
    client = current.client()
    here = sources.node_id(node_of(client.me))
    for ref in obj_refs:
        known = client.known(ref)
        if known.is_there and known.node is None and known.error is None and here:
            found[ref]["node_ids"].append(here)
    for row in sources.of_raylets(StoreObjects(), list[ObjectRow]):
        place = by_id.get(row.oid)
        node = sources.node_id(row.node)
        if place is not None and node is not None:
            place["object_size"] = row.size
            place["did_spill"] = place["did_spill"] or "SPILLED" in row.state.upper()
            if node not in place["node_ids"]:
                place["node_ids"].append(node)
    return found


def get_local_object_locations(obj_refs: Sequence[Any]) -> Places:
    """Where this process believes the objects are, without asking anyone."""
    _check(obj_refs)
    found = _known_here(obj_refs)
    client = current.client()
    nodes = {ref: client.known(ref).node for ref in obj_refs}
    stored = {ref: node for ref, node in nodes.items() if node is not None}
    sources = Sources() if stored else None
    for ref, node in stored.items():
        node_id = sources.node_id(node) if sources is not None else None
        if node_id is not None:
            found[ref]["node_ids"] = [node_id]
    return found


def _known_here(obj_refs: Sequence[Any]) -> Places:
    client = current.client()
    found: Places = {}
    for ref in obj_refs:
        size = client.known(ref).size
        found[ref] = {"node_ids": [], "object_size": size, "did_spill": False}
    return found


def _check(obj_refs: Any) -> None:
    if current.existing() is None:
        raise RuntimeError("There are no objects before init(): this process has joined none.")
    from rayhpc.runtime.values.references import ObjectRef

    if not isinstance(obj_refs, Sequence) or not all(isinstance(x, ObjectRef) for x in obj_refs):
        raise TypeError("get_object_locations takes a list of ObjectRefs.")


__all__ = ["get_local_object_locations", "get_object_locations"]
