"""CPUs and GPUs over time, of the cluster and of each node: granted, reserved, busy."""

from __future__ import annotations

from functools import partial

import msgspec
import numpy as np

from rayhpc.observe import intervals
from rayhpc.observe.snapshot import UNIT, Column, Snapshot, once
from rayhpc.observe.views.naming import node_names
from rayhpc.observe.views.sampling import in_force
from rayhpc.wire.messages.listings import NodeSample

BINS = 160
NODES_MOST = 256


class NodeUsage(msgspec.Struct, frozen=True):
    """One node: how busy it was in each bin, in percent of its CPUs, and on average (0 to 1)."""

    name: str
    cpus: float
    gpus: float
    busy: float
    percent: list[int]


class Usage(msgspec.Struct, frozen=True):
    """The cluster over time, in bins of `step` seconds.

    `at_work` are CPUs that were busy, `reserved` the most that tasks, actors and groups held
    (empty: not recorded).  `nodes` are the first nodes, `nodes_left_out` counts the others,
    `nodes_used` is the sum of the busy shares of all nodes.
    """

    step: float
    cpus: float
    gpus: float
    at_work: list[float]
    reserved: list[float]
    gpus_at_work: list[float]
    nodes: list[NodeUsage]
    nodes_left_out: int
    nodes_used: float


@once
def usage(snapshot: Snapshot) -> Usage:
    """Who was busy when."""
    edges = np.linspace(snapshot.begin, snapshot.begin + snapshot.span, BINS + 1)
    at_work = _at_work(snapshot, edges)
    cpus = np.array([x.info.total.get("CPU", 0) / UNIT for x in snapshot.nodes])
    share = at_work / np.maximum(cpus, 1e-9)[:, None]
    return Usage(
        step=snapshot.span / BINS,
        cpus=snapshot.total("CPU"),
        gpus=snapshot.total("GPU"),
        at_work=_rounded(at_work.sum(axis=0)),
        reserved=_rounded(_reserved(snapshot, edges)),
        gpus_at_work=_rounded(_gpus(snapshot, edges)) if snapshot.total("GPU") else [],
        nodes=_nodes(snapshot, share),
        nodes_left_out=max(0, len(snapshot.nodes) - NODES_MOST),
        nodes_used=float(share.mean(axis=1).sum()),
    )


def _at_work(snapshot: Snapshot, edges: Column) -> Column:
    """The CPUs at work on each node in each bin.

    Never more than the node has: with tasks that sleep or wait, more may run than it has CPUs.
    """
    busy = intervals.busy(snapshot)
    node = np.array([x.node for x in snapshot.workers], dtype=np.int64)[busy.worker]
    order = np.argsort(node, kind="stable")
    ordered = intervals.Stretches(*(column[order] for column in busy))
    node = node[order]
    found = np.zeros((len(snapshot.nodes), len(edges) - 1))
    for i, each in enumerate(snapshot.nodes):
        first, last = np.searchsorted(node, [each.info.number, each.info.number + 1])
        if last > first:
            own = intervals.Stretches(*(column[first:last] for column in ordered))
            cpus = each.info.total.get("CPU", 0) / UNIT
            found[i] = np.minimum(intervals.mean_over(edges, own), cpus)
    return found


def _nodes(snapshot: Snapshot, share: Column) -> list[NodeUsage]:
    names = node_names(snapshot)
    percent = np.rint(share * 100).astype(int)
    return [
        NodeUsage(
            names[node.info.number],
            node.info.total.get("CPU", 0) / UNIT,
            node.info.total.get("GPU", 0) / UNIT,
            float(share[i].mean()),
            percent[i].tolist(),
        )
        for i, node in enumerate(snapshot.nodes[:NODES_MOST])
    ]


def _reserved(snapshot: Snapshot, edges: Column) -> Column:
    """The CPUs that were not free, from the nodes' heartbeats."""
    if not snapshot.history:
        return np.zeros(0)
    total = np.zeros(BINS)
    given = {x.info.number: x.info.total.get("CPU", 0) for x in snapshot.nodes}
    for row in snapshot.history:
        has = given.get(row.node, 0)
        total += in_force(row, edges[1:], partial(_taken, has)) / UNIT
    return total


def _taken(total: int, sample: NodeSample) -> int:
    return max(0, total - sample.free_cpus)


def _gpus(snapshot: Snapshot, edges: Column) -> Column:
    runs = snapshot.runs
    with_gpu = runs.gpus > 0
    stretches = intervals.Stretches(
        runs.start[with_gpu], runs.end[with_gpu], runs.gpus[with_gpu], runs.worker[with_gpu]
    )
    return intervals.mean_over(edges, stretches)


def _rounded(values: Column) -> list[float]:
    rounded: list[float] = np.asarray(np.round(values, 3)).tolist()
    return rounded
