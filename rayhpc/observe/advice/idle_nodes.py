"""Nodes that had no work while others did, for lack of the resources that the tasks need."""

from __future__ import annotations

import numpy as np

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.snapshot import UNIT, Snapshot
from rayhpc.observe.views.usage import NodeUsage, usage

_IDLE = 0.02
_OTHERS = 0.2
_ALL = 0.9


def look(snapshot: Snapshot) -> Advice | None:
    """Whether some nodes ran nothing."""
    nodes = usage(snapshot).nodes
    idle = [x for x in nodes if x.cpus and x.busy < _IDLE]
    others = [x for x in nodes if x.busy >= _IDLE]
    if not idle or not others or np.mean([x.busy for x in others]) < _OTHERS:
        return None
    cpus = sum(x.cpus for x in idle)
    shown = ", ".join(x.name for x in idle[:3]) + (", …" if len(idle) > 3 else "")
    share = cpus / sum(x.cpus for x in nodes)
    why, remedy = _reason(snapshot, idle)
    return Advice(
        "idle_nodes",
        f"{len(idle)} of {len(nodes)} nodes ({shown}; {cpus:g} CPUs) had no work{why}.",
        remedy,
        snapshot.span * share * float(np.mean([x.busy for x in others])),
    )


def _reason(snapshot: Snapshot, idle: list[NodeUsage]) -> tuple[str, str]:
    runs = snapshot.runs
    total = max(float(runs.seconds.sum()), 1e-9)
    on_gpu = float(runs.seconds[runs.gpus > 0].sum()) / total
    if on_gpu > _ALL and not any(x.gpus for x in idle):
        return (
            f": {on_gpu:.0%} of the work asks for a GPU, and they have none",
            "Ask for nodes with GPUs alone, or give them work that needs none.",
        )
    largest = float(runs.cpus.max())
    if largest > max(x.cpus for x in idle):
        return (
            f": the tasks ask for {largest:g} CPUs, and they have fewer",
            "Let tasks ask for fewer CPUs, or ask for larger nodes.",
        )
    wanted = _named(snapshot)
    if wanted:
        return f": what waits asks for {wanted}", "Start them with what the tasks ask for."
    return "", "Ask for fewer nodes, or submit more tasks at the same time."


def _named(snapshot: Snapshot) -> str:
    """A custom resource that tasks still pending at the end asked for."""
    names = {name for wanted, _, _ in snapshot.demand for name in wanted}
    held = {name for x in snapshot.nodes for name, amount in x.info.total.items() if amount >= UNIT}
    return ", ".join(sorted(names & held - {"CPU", "GPU", "memory", "object_store_memory"}))
