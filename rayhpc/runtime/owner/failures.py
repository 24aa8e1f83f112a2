"""The errors that the runtime itself gives a task, as the pickled bytes an entry holds.

Used by `submission`, `calls`, `ownership`.  Each message says what happened, where, and what to do;
the classes are Ray's (`rayhpc.exceptions`).
"""

from __future__ import annotations

import os

from rayhpc import exceptions
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.values.errors import (
    dump_error,
    dump_system_error,
    is_task_error,
    load_error,
)
from rayhpc.wire.address import TASK_ID_BYTES, ObjectId
from rayhpc.wire.messages import leases, objects


def of_another_cluster(what: str) -> exceptions.OtherClusterError:
    """What is named was kept from a cluster that this program has left; programs know the error
    of Ray, a ValueError, by the words "Ray object whose owner is unknown".
    """
    return exceptions.OtherClusterError(
        f"{what} is a Ray object whose owner is unknown: it belongs to a cluster that this program "
        "has left, and has gone with that. Use what you need of it before shutdown(); after init() "
        "make objects, actors and placement groups again (what is detached in a cluster that lives "
        "is found by its name there)."
    )


def cancelled(pending: Pending) -> bytes:
    """The task was cancelled."""
    task_id = pending.tid[:TASK_ID_BYTES].hex()
    return dump_system_error(exceptions.TaskCancelledError(task_id=task_id))


def not_sent(pending: Pending, error: Exception) -> bytes:
    """The task or call does not fit into a message."""
    text = f"{pending.name}() cannot be sent: {error}. It did not run; others are not affected."
    return dump_system_error(exceptions.RaySystemError(text))


def worker_died(pending: Pending, reason: str, memory: bool, node_died: bool) -> bytes:
    """The process that ran the task has died, and no retry is left."""
    what = f"Task {pending.name!r} (attempt {pending.attempt + 1}) ended with its worker: {reason}"
    if memory:
        return dump_system_error(exceptions.OutOfMemoryError(what))
    if node_died:
        return dump_system_error(exceptions.NodeDiedError(what))
    hint = " Its output is in the session's log; max_retries runs it again after such an end."
    return dump_system_error(exceptions.WorkerCrashedError(what + "." + hint))


def refused(kind: int, text: str) -> bytes:
    """No worker will ever be available for the task's scheduling class."""
    if kind == leases.ENVIRONMENT:
        return dump_system_error(exceptions.RuntimeEnvSetupError(text))
    if kind == leases.GROUP_REMOVED:
        return dump_system_error(exceptions.TaskPlacementGroupRemoved(text))
    return dump_system_error(exceptions.TaskUnschedulableError(text))


def by_argument(pending: Pending, error: bytes) -> bytes:
    """An argument of the task or call is an error: its own, unless it came from another task."""
    if is_task_error(error):
        return error
    return dump_error(
        load_error(error),
        function_name=pending.name,
        pid=os.getpid(),
        ip="",
        actor_repr=None,
        of_argument=True,
    )


def lost(kind: int, oid: ObjectId, text: str = "") -> bytes:
    """An object is gone: LOST, OWNER_DIED or FREED of `wire.messages.objects`."""
    name = oid.hex()
    if kind == objects.OWNER_DIED:
        return dump_system_error(exceptions.OwnerDiedError(name, text))
    if kind == objects.FREED:
        return dump_system_error(exceptions.ObjectFreedError(name, text))
    if kind == objects.FULL:
        return dump_system_error(exceptions.ObjectStoreFullError(text))
    return dump_system_error(exceptions.ObjectLostError(name, text))


def out_of_retries(oid: ObjectId, pending: Pending) -> bytes:
    """An object is lost that its task or call may not reconstruct."""
    option = "max_retries" if pending.target is None else "max_task_retries"
    text = (
        f"every copy of it is gone, with the nodes they were on, and {pending.name}() has no "
        "retries left to make it again: the maximum number of task retries has been exceeded "
        f"({option})."
    )
    kind = exceptions.ObjectReconstructionFailedMaxAttemptsExceededError
    return dump_system_error(kind(oid.hex(), text))


def actor_died(text: str, actor: ObjectId, error: bytes = b"") -> bytes:
    """The actor is dead for good; `error` is its constructor's, if that is the reason."""
    if error:
        return error
    return dump_system_error(exceptions.ActorDiedError(text, actor.hex()))


def actor_unavailable(text: str, actor: ObjectId) -> bytes:
    """The actor cannot be reached now, but may come back."""
    return dump_system_error(exceptions.ActorUnavailableError(text, actor.hex()))


def actor_unschedulable(text: str) -> bytes:
    """No node can ever hold the actor."""
    return dump_system_error(exceptions.ActorUnschedulableError(text))
