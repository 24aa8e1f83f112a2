"""Stores that were too small, so that objects were spilled to disk and restored."""

from __future__ import annotations

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.measures import in_bytes
from rayhpc.observe.snapshot import Snapshot
from rayhpc.observe.views.stores import stores

# To a node's disk and back; the nodes do this in parallel.
_BYTES_A_SECOND = 0.25e9


def look(snapshot: Snapshot) -> Advice | None:
    """Whether anything was spilled."""
    spilled = [x for x in stores(snapshot).nodes if x.spilled_bytes]
    size = sum(x.spilled_bytes for x in spilled)
    if not size:
        return None
    one = len(spilled) == 1
    where = f"node {spilled[0].node}" if one else f"{len(spilled)} nodes"
    room = max(x.size for x in spilled)
    return Advice(
        "spilling",
        f"{in_bytes(size)} did not fit into the object store{'' if one else 's'} of {where} "
        f"({in_bytes(room)}{'' if one else ' each at the most'}) and went to disk.",
        "Let go of references earlier, have fewer results waiting at the same time, or give the "
        "nodes more memory (--object-store-memory).",
        max(size / len(spilled) / _BYTES_A_SECOND, 0.03 * snapshot.span),
    )
