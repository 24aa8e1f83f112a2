"""What this process holds and has under way, as rows for the state listings.

Used by `core` when the head, a raylet or a driver asks.  Reads only.
"""

from __future__ import annotations

import os

from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.wire.address import node_of
from rayhpc.wire.messages.cluster import ObjectRow, TaskEvent

_STATES = {PENDING: "PENDING", INLINE: "INLINE", STORED: "STORED", ERROR: "ERROR"}


def objects(ownership: Ownership, limit: int) -> list[ObjectRow]:
    """The references this process owns or borrows."""
    rows = []
    node = node_of(ownership.me)
    for oid, entry in list(ownership.table.items())[:limit]:
        kind = "LOCAL_REFERENCE" if ownership.is_mine(oid) else "BORROWED"
        size = entry.size or (len(entry.value) if isinstance(entry.value, bytes) else 0)
        rows.append(
            ObjectRow(
                oid, size, kind, node, os.getpid(), _STATES[entry.state], count=entry.count
            )
        )
    return rows


def task_row(pending: Pending, job: int) -> TaskEvent:
    """A task or call of this process's job that has not ended."""
    lease = pending.lease
    client = pending.target
    if client is not None:
        state = "RUNNING" if pending.tid in client.inflight else "PENDING_ACTOR_TASK_ARGS_FETCH"
        worker = client.address
    else:
        state = "PENDING_NODE_ASSIGNMENT" if lease is None else "RUNNING"
        worker = 0 if lease is None else lease.worker
        if pending.missing:
            state = "PENDING_ARGS_AVAIL"
    return TaskEvent(
        tid=pending.tid,
        name=pending.name,
        kind="NORMAL_TASK" if client is None else "ACTOR_TASK",
        state=state,
        job=job,
        worker=worker,
        pid=0,
        submitted=pending.submitted,
        parent=pending.parent,
        attempt=pending.attempt,
    )
