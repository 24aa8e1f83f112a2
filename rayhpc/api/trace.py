"""The tasks that a cluster has run, as events of a Chrome trace.

Used by `cluster_info.timeline`.  Workers report to their raylet once a second; what they have not
reported yet they are asked for, and those that do not answer soon (user code may hold the
interpreter) are left out.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from rayhpc.runtime.interrupts import inside
from rayhpc.runtime.process import Process
from rayhpc.wire.address import Address, node_of, raylet_of
from rayhpc.wire.messages import cluster

RAYLET_ANSWERS_S = 30.0
WORKER_ANSWERS_S = 2.0

_Asked = list[tuple[Address, Any]]


def collect(process: Process) -> list[dict[str, Any]]:
    """All runs, the earliest first; one row per process, one group of rows per node."""
    with inside:
        nodes: list[cluster.NodeState] = process.ask_head(
            cluster.Nodes(), list[cluster.NodeState]
        )
        raylets = [raylet_of(x.info.number) for x in nodes if x.alive]
        workers = _ask_all(
            process, [(x, cluster.Workers()) for x in raylets], cluster.WorkerRow, RAYLET_ANSWERS_S
        )
        asked: _Asked = [(x.address, cluster.TaskEvents()) for x in workers if x.kind == "worker"]
        runs = _ask_all(process, asked, cluster.TaskEvent, WORKER_ANSWERS_S)
        asked = [(x, cluster.TaskEvents()) for x in raylets]
        runs += _ask_all(process, asked, cluster.TaskEvent, RAYLET_ANSWERS_S)
    addresses = {x.info.number: x.info.ip for x in nodes}
    once = {(x.tid, x.attempt): x for x in runs if x.started}
    return [_event(x, addresses) for x in sorted(once.values(), key=lambda x: x.started)]


def _ask_all(process: Process, asked: _Asked, kind: Any, timeout: float) -> list[Any]:
    """The rows all of these answer with, within `timeout` seconds."""
    tokens = []
    with process.lead():
        for address, question in asked:
            token = process.new_token()
            tokens.append(token)
            process.transport.send(address, cluster.Request(token, question))
    process.wait_until(lambda: all(x in process.replies for x in tokens), timeout)
    rows: list[Any] = []
    for token in tokens:
        reply = process.replies.pop(token, None)
        if reply is not None and not reply.error:
            rows += msgspec.msgpack.decode(reply.data, type=list[kind])
    return rows


def _event(run: cluster.TaskEvent, addresses: dict[int, str]) -> dict[str, Any]:
    ended = run.ended or time.time()
    kind = "actor" if run.actor else "task"
    return {
        "cat": f"{kind}::{run.name}",
        "name": run.name,
        "pid": addresses.get(node_of(run.worker), str(node_of(run.worker))),
        "tid": f"worker:{run.pid}",
        "ts": run.started * 1e6,
        "dur": max(0.0, ended - run.started) * 1e6,
        "ph": "X",
        "args": {
            "task_id": run.tid.hex(),
            "job_id": run.job,
            "attempt_number": run.attempt,
            "actor_id": run.actor.hex(),
            "state": run.state,
            "error": run.error,
        },
    }
