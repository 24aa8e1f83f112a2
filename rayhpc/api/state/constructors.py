"""Actors' constructors as listings of tasks show them, made of what the head knows.

Used by `sources`.  Workers do not record constructors as runs, so how long one took is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rayhpc.wire.address import constructor_task_of
from rayhpc.wire.messages.actors import ActorRow
from rayhpc.wire.messages.task_runs import TaskEvent

CREATION = "ACTOR_CREATION_TASK"
_FAILED_IN_IT = "constructor failed"
# An actor's state → its constructor's, if no node has been chosen yet.
_WAITING = {
    "DEPENDENCIES_UNREADY": "PENDING_ARGS_AVAIL",
    "PENDING_CREATION": "PENDING_NODE_ASSIGNMENT",
}


def events(rows: Iterable[ActorRow]) -> Iterator[TaskEvent]:
    """The constructor of each actor whose runs are listed, in its current or last process."""
    for row in rows:
        if not row.spec.unlisted:
            yield _event(row)


def _event(row: ActorRow) -> TaskEvent:
    spec = row.spec
    state, error_type = _outcome(row)
    name = f"{spec.class_name}.__init__"
    return TaskEvent(
        tid=constructor_task_of(spec.actor),
        name=name,
        kind=CREATION,
        state=state,
        job=spec.job,
        worker=row.address,
        pid=row.pid,
        submitted=row.started,
        actor=spec.actor,
        attempt=row.incarnation,
        error=row.reason if error_type else "",
        resources=spec.placing.resources,
        error_type=error_type,
        function=name,
    )


def _outcome(row: ActorRow) -> tuple[str, str]:
    """The state of the constructor, and the kind of its error (empty: none)."""
    if row.state in _WAITING:
        # Whether it has begun there, only that node knows.
        return "SUBMITTED_TO_WORKER" if row.node_id else _WAITING[row.state], ""
    if row.state == "DEAD" and _FAILED_IN_IT in row.reason:
        return "FAILED", "TASK_EXECUTION_EXCEPTION"
    if row.state == "DEAD" and not row.pid:
        return "FAILED", "ACTOR_DIED"
    return ("SUBMITTED_TO_WORKER" if row.state == "RESTARTING" else "FINISHED"), ""
