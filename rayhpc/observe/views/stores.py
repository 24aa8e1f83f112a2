"""The object stores: how full over time, what went to disk, what came from other nodes."""

from __future__ import annotations

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Snapshot, once
from rayhpc.observe.views.naming import name_of, node_names
from rayhpc.observe.views.sampling import in_force
from rayhpc.wire.messages.cluster import Moved

BINS = 160
_NODES_MOST = 256


class StoreRow(msgspec.Struct, frozen=True):
    """One node's store, in bytes: its size, its peak use in memory and on disk, and transfers."""

    node: str
    size: int
    used_most: int
    spilled_most: int
    spilled: int
    spilled_bytes: int
    pulled: int
    pulled_bytes: int


class Stores(msgspec.Struct, frozen=True):
    """All stores together over time, in bytes, in bins of `step` seconds; and each on its own."""

    step: float
    size: int
    used: list[int]
    on_disk: list[int]
    nodes: list[StoreRow]
    left_out: int


@once
def stores(snapshot: Snapshot) -> Stores:
    """What the stores held."""
    at = np.linspace(snapshot.begin, snapshot.begin + snapshot.span, BINS + 1)[1:]
    used, on_disk = np.zeros(BINS), np.zeros(BINS)
    names = node_names(snapshot)
    size_of = {x.info.number: x.info.store_bytes for x in snapshot.nodes}
    rows = []
    for row in snapshot.history:
        samples = row.samples
        used += in_force(row, at, lambda x: x.store_used)
        on_disk += in_force(row, at, lambda x: x.store_spilled)
        moved = samples[-1].moved if samples else Moved()
        rows.append(
            StoreRow(
                name_of(names, row.node),
                size_of.get(row.node, 0),
                max((x.store_used for x in samples), default=0),
                max((x.store_spilled for x in samples), default=0),
                moved.spilled,
                moved.spilled_bytes,
                moved.pulled,
                moved.pulled_bytes,
            )
        )
    rows.sort(key=lambda x: (-x.spilled_bytes, -x.pulled_bytes, -x.used_most))
    return Stores(
        step=snapshot.span / BINS,
        size=sum(size_of.values()),
        used=[int(x) for x in used],
        on_disk=[int(x) for x in on_disk],
        nodes=rows[:_NODES_MOST],
        left_out=max(0, len(rows) - _NODES_MOST),
    )
