"""The tasks that a cluster has run, as Chrome trace events.

Used by `cluster_info.timeline`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rayhpc.runtime.process import run_history
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.interrupts import inside
from rayhpc.wire.address import TASK_ID_BYTES, node_of
from rayhpc.wire.messages import cluster, listings, task_runs


def collect(client: Client) -> Iterator[dict[str, Any]]:
    """All runs, earliest first; one row per process, one group of rows per node."""
    with inside:
        nodes: list[listings.NodeState] = client.ask_head(cluster.Nodes(), list[listings.NodeState])
        history = run_history.read(client).said(client)
    addresses = {x.info.number: x.info.ip for x in nodes}
    for run in sorted(history.runs, key=lambda x: x.started):
        yield _event(run, addresses)


def _event(run: task_runs.TaskEvent, addresses: dict[int, str]) -> dict[str, Any]:
    kind = "actor" if run.actor else "task"
    return {
        "cat": f"{kind}::{run.name}",
        "name": run.name,
        "pid": addresses.get(node_of(run.worker), str(node_of(run.worker))),
        "tid": f"worker:{run.pid}",
        "ts": run.started * 1e6,
        "dur": max(0.0, run.ended - run.started) * 1e6,
        "ph": "X",
        "args": {
            "task_id": run.tid[:TASK_ID_BYTES].hex(),
            "job_id": run.job,
            "attempt_number": run.attempt,
            "actor_id": run.actor.hex(),
            "state": run.state,
            "error": run.error,
        },
    }
