"""Waiting for the references among a task's arguments.

Used by `submission` and `calls`, in the leading thread.  Small values of ours travel with the
task; stored ones are named; what others own and we do not know is left to the worker to fetch.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.wire.address import NodeNumber, owner_node_of
from rayhpc.wire.messages.tasks import Dependency


def when_ready(ownership: Ownership, pending: Pending, then: Callable[[Pending], None]) -> None:
    """Call `then(pending)` when every dependency of ours is there, now or later."""
    assert pending.deps is not None
    table = ownership.table
    waiting: list[Entry] = []
    for ref in pending.deps:
        entry = table.get(ref.binary())
        if entry is not None and entry.state == PENDING and ownership.is_mine(ref.binary()):
            waiting.append(entry)
    if not waiting:
        then(pending)
        return
    pending.missing = len(waiting)

    def one_is_there() -> None:
        pending.missing -= 1
        if not pending.missing:
            then(pending)

    for entry in waiting:
        entry.when_ready(one_is_there)


def resolved(ownership: Ownership, pending: Pending) -> tuple[list[Dependency], bytes | None]:
    """The dependencies as the task carries them, and the error of the first that failed."""
    found: list[Dependency] = []
    for ref in pending.deps or ():
        oid = ref.binary()
        entry = ownership.table.get(oid)
        if entry is None or entry.state == PENDING:
            found.append(Dependency(oid, None, owner_node_of(oid)))
        elif entry.state == INLINE:
            found.append(Dependency(oid, entry.value))
        elif entry.state == STORED:
            found.append(Dependency(oid, None, entry.value))
        else:
            assert entry.state == ERROR
            return found, entry.value
    return found, None


def node_with_most(ownership: Ownership, pending: Pending) -> NodeNumber:
    """The node that has most of the bytes among the dependencies; 0: none lies in a store."""
    found: dict[NodeNumber, int] = {}
    for ref in pending.deps or ():
        entry = ownership.table.get(ref.binary())
        if entry is not None and entry.state == STORED:
            found[entry.value] = found.get(entry.value, 0) + entry.size
    return max(found, key=lambda node: (found[node], -node), default=0)
