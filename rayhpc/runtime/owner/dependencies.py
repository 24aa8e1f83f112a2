"""Waits for the references among a task's arguments.

Used by `submission`, `calls` and `actor_creation`, in the leading thread.  Our own small values
travel with the task, up to a total limit; stored ones are named; the worker fetches the others,
and whatever others own and we do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.entries import ERROR, PENDING, STORED, Entry
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire import limits
from rayhpc.wire.address import NodeNumber, owner_node_of
from rayhpc.wire.messages.tasks import Dependency


def when_ready(ownership: Ownership, pending: Pending, then: Callable[[Pending], None]) -> None:
    """Call `then(pending)` once all our own dependencies are ready, now or later."""
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
    """The dependencies in the form the task carries them, and the error of the first failed one."""
    found = described(ownership, pending.deps or ())
    size = len(pending.args)
    error: bytes | None = None
    for each in found:  # one loop, no generators: a part of every call with a reference
        if each.value is not None:
            size += len(each.value)
            if each.error and error is None:
                error = each.value
    pending.size = size
    return found, None if error is None else failures.by_argument(pending, error)


def described(ownership: Ownership, refs: Iterable[ObjectRef[Any]]) -> list[Dependency]:
    """References in the form a task or constructor carries them, from what is known now."""
    found: list[Dependency] = []
    room = limits.ALONG_BYTES
    for ref in refs:
        oid = ref.binary()
        entry = ownership.table.get(oid)
        if entry is None or entry.state == PENDING:
            found.append(Dependency(oid, None, owner_node_of(oid)))
        elif entry.state == STORED:
            found.append(Dependency(oid, None, entry.value, attempt=entry.attempt))
        elif entry.state == ERROR:
            ownership.unread.read(oid)
            found.append(Dependency(oid, entry.value, error=True))
        elif len(entry.value) <= room:
            room -= len(entry.value)
            found.append(Dependency(oid, entry.value))
        else:
            found.append(Dependency(oid, None, owner_node_of(oid)))
    return found


def node_with_most(ownership: Ownership, pending: Pending) -> NodeNumber:
    """The node with most of the dependencies' bytes; 0: none of them is in a store."""
    found: dict[NodeNumber, int] = {}
    for ref in pending.deps or ():
        entry = ownership.table.get(ref.binary())
        if entry is not None and entry.state == STORED:
            found[entry.value] = found.get(entry.value, 0) + entry.size
    return max(found, key=lambda node: (found[node], -node), default=0)
