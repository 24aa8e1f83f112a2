"""What the nodes' heartbeats reported over time: kept in bounded memory, read on request.

Used by `membership` (writes) and `questions` (reads).  A node has at most `SAMPLES_MOST` samples;
beyond that every two neighbours are merged, so a long life is covered as fully as a short one.
"""

from __future__ import annotations

from array import array

from rayhpc.wire.address import NodeNumber
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.listings import NodeHistory, NodeSample

# 96 bytes each.
SAMPLES_MOST = 256
FIRST_EVERY_S = 1.0
# Including dead nodes; the oldest are dropped.
_NODES_MOST = 2_000
# How two samples are merged, for each of a sample's numbers.
_TOGETHER = (min, min, min, *[max] * 9)
_WIDTH = len(_TOGETHER)


class History:
    """The samples of all nodes."""

    def __init__(self) -> None:
        self._of: dict[NodeNumber, _OfNode] = {}

    def add(self, node: NodeNumber, sample: NodeSample) -> None:
        """Add a node's sample."""
        known = self._of.get(node)
        if known is None:
            if len(self._of) >= _NODES_MOST:
                del self._of[next(iter(self._of))]
            known = self._of[node] = _OfNode()
        known.add(_flat(sample))

    def rows(self) -> list[NodeHistory]:
        """All of them."""
        return [NodeHistory(x, of.every, of.samples()) for x, of in self._of.items()]


class _OfNode:
    """The samples of one node, consecutive in one array."""

    __slots__ = ("_flat", "every")

    def __init__(self) -> None:
        self.every = FIRST_EVERY_S
        self._flat = array("d")

    def add(self, sample: list[float]) -> None:
        flat = self._flat
        if flat and sample[0] < flat[-_WIDTH] + self.every:
            flat[-_WIDTH:] = array("d", _joined(flat[-_WIDTH:].tolist(), sample))
            return
        flat.extend(sample)
        if len(flat) >= SAMPLES_MOST * _WIDTH:
            self._halve()

    def samples(self) -> list[NodeSample]:
        """As records."""
        return [_sample(x) for x in self._rows()]

    def _halve(self) -> None:
        self.every *= 2
        rows = self._rows()
        self._flat = array("d")
        for first, then in zip(rows[::2], rows[1::2], strict=True):
            self._flat.extend(_joined(first, then))

    def _rows(self) -> list[list[float]]:
        flat = self._flat
        return [flat[x : x + _WIDTH].tolist() for x in range(0, len(flat), _WIDTH)]


def _joined(first: list[float], then: list[float]) -> list[float]:
    return [choose(a, b) for choose, a, b in zip(_TOGETHER, first, then, strict=True)]


def _flat(sample: NodeSample) -> list[float]:
    moved = sample.moved
    return [
        sample.at,
        sample.free_cpus,
        sample.free_gpus,
        sample.store_used,
        sample.store_spilled,
        sample.pending,
        moved.pulled,
        moved.pulled_bytes,
        moved.spilled,
        moved.spilled_bytes,
        sample.memory,
        sample.memory_limit,
    ]


def _sample(row: list[float]) -> NodeSample:
    at, (cpus, gpus, used, spilled, pending, *more) = row[0], [int(x) for x in row[1:]]
    return NodeSample(at, cpus, gpus, used, spilled, pending, Moved(*more[:4]), *more[4:])
