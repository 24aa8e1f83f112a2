"""Memory over time, of the cluster and of each node: what its processes used, and the limit."""

from __future__ import annotations

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Snapshot, once
from rayhpc.observe.views.naming import name_of, node_names
from rayhpc.observe.views.sampling import in_force

BINS = 160
_NODES_MOST = 256


class MemoryRow(msgspec.Struct, frozen=True):
    """One node, in bytes: its limit and the most that was used; and over time.

    `percent` is of the most that any node used: a limit may be far away.
    """

    node: str
    limit: int
    used_most: int
    percent: list[int]


class Memory(msgspec.Struct, frozen=True):
    """All nodes together over time, in bytes, in bins of `step` seconds; and each on its own.

    `nodes` are the fullest, `left_out` counts the others; none where nothing was recorded.
    """

    step: float
    limit: int
    used: list[int]
    nodes: list[MemoryRow]
    left_out: int


@once
def memory(snapshot: Snapshot) -> Memory:
    """What the nodes used, from their heartbeats."""
    at = np.linspace(snapshot.begin, snapshot.begin + snapshot.span, BINS + 1)[1:]
    names = node_names(snapshot)
    total = np.zeros(BINS)
    rows = []
    highest = max((x.memory for row in snapshot.history for x in row.samples), default=0)
    for row in snapshot.history:
        limit = max((x.memory_limit for x in row.samples), default=0)
        if not limit:
            continue
        used = in_force(row, at, lambda x: x.memory)
        total += used
        percent = np.rint(100 * used / max(1, highest)).astype(int)
        most = max(x.memory for x in row.samples)
        rows.append(MemoryRow(name_of(names, row.node), limit, most, percent.tolist()))
    rows.sort(key=lambda x: -x.used_most / x.limit)
    return Memory(
        step=snapshot.span / BINS,
        limit=sum(x.limit for x in rows),
        used=[int(x) for x in total],
        nodes=rows[:_NODES_MOST],
        left_out=max(0, len(rows) - _NODES_MOST),
    )
