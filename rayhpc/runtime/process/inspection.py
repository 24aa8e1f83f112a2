"""What this process holds and has in progress, as rows for the state listings.

Used by `core` when the head, a raylet or a driver asks.  Read-only.
"""

from __future__ import annotations

import os

from rayhpc import exceptions
from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.results import Failure
from rayhpc.runtime.values.errors import load_error
from rayhpc.wire.address import node_of
from rayhpc.wire.messages.listings import ObjectRow
from rayhpc.wire.messages.task_runs import QUEUED, TaskEvent
from rayhpc.wire.messages.tasks import Call

_ERROR_CHARACTERS = 4000
_OF_USERS_CODE = "TASK_EXECUTION_EXCEPTION"
_ERROR_TYPES: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.TaskCancelledError, "TASK_CANCELLED"),  # maybe a RayTaskError, too
    (exceptions.RayTaskError, _OF_USERS_CODE),
    (exceptions.OutOfMemoryError, "OUT_OF_MEMORY"),
    (exceptions.NodeDiedError, "NODE_DIED"),
    (exceptions.WorkerCrashedError, "WORKER_DIED"),
    (exceptions.ActorUnavailableError, "ACTOR_UNAVAILABLE"),
    (exceptions.ActorDiedError, "ACTOR_DIED"),
    (exceptions.RuntimeEnvSetupError, "RUNTIME_ENV_SETUP_FAILED"),
    (exceptions.TaskPlacementGroupRemoved, "TASK_PLACEMENT_GROUP_REMOVED"),
    (exceptions.TaskUnschedulableError, "TASK_UNSCHEDULABLE_ERROR"),
    (exceptions.ObjectLostError, "OBJECT_LOST"),
)
_STATES = {PENDING: "PENDING", INLINE: "INLINE", STORED: "STORED", ERROR: "ERROR"}


def objects(ownership: Ownership, limit: int) -> list[ObjectRow]:
    """The references this process owns or borrows."""
    rows = []
    node = node_of(ownership.me)
    for oid, entry in list(ownership.table.items())[:limit]:
        kind = "LOCAL_REFERENCE" if ownership.is_mine(oid) else "BORROWED"
        size = entry.size or (len(entry.value) if isinstance(entry.value, bytes) else 0)
        rows.append(
            ObjectRow(oid, size, kind, node, os.getpid(), _STATES[entry.state], count=entry.count)
        )
    return rows


def failure_row(failure: Failure, job: int) -> TaskEvent:
    """A task or call of this process's job that has failed for good."""
    kind, text = describe_error(failure.error)
    return TaskEvent(
        tid=failure.tid,
        name=failure.name,
        kind="ACTOR_TASK" if failure.actor else "NORMAL_TASK",
        state="FAILED",
        job=job,
        worker=failure.worker,
        pid=0,
        submitted=failure.submitted,
        actor=failure.actor,
        parent=failure.parent,
        attempt=failure.attempt,
        error=text,
        error_type=kind,
        function=failure.function,
    )


def describe_error(packed: bytes) -> tuple[str, str]:
    """The name of an error in Ray's listings, and its text."""
    try:
        error = load_error(packed)
        text = str(error)
    except Exception as problem:  # a user's exception class may do anything
        return _OF_USERS_CODE, f"an error that cannot be read here: {problem!r}"
    for kind, name in _ERROR_TYPES:
        if isinstance(error, kind):
            return name, text[-_ERROR_CHARACTERS:]
    return _OF_USERS_CODE, text[-_ERROR_CHARACTERS:]


def queued_row(call: Call, name: str, actor: bytes, job: int) -> TaskEvent:
    """A call that this actor has got and has not started."""
    return TaskEvent(
        tid=call.tid,
        name=name,
        kind="ACTOR_TASK",
        state=QUEUED,
        job=job,
        worker=0,
        pid=0,
        actor=actor,
        attempt=call.attempt,
        function="" if call.more is None else call.more.function,
    )


def task_row(pending: Pending, job: int) -> TaskEvent:
    """An unfinished task or call of this process's job."""
    lease = pending.lease
    client = pending.target
    if client is not None:
        state = "RUNNING" if pending.tid in client.inflight else "PENDING_ACTOR_TASK_ARGS_FETCH"
        worker = client.address
    else:
        state = "PENDING_ARGS_AVAIL" if pending.missing else "PENDING_NODE_ASSIGNMENT"
        worker = 0
        if lease is not None:
            is_first = next(iter(lease.inflight), None) == pending.tid
            state = "RUNNING" if is_first else "SUBMITTED_TO_WORKER"
            worker = lease.worker
    return TaskEvent(
        tid=pending.tid,
        name=pending.name,
        kind="NORMAL_TASK" if client is None else "ACTOR_TASK",
        state=state,
        job=job,
        worker=worker,
        pid=0,
        submitted=pending.submitted,
        actor=b"" if client is None else client.actor,
        parent=pending.parent,
        attempt=pending.attempt,
        function=pending.function(),
    )
