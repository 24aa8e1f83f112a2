"""The common part of `f.remote()` and `actor.method.remote()`: arguments, records, references.

Used by `remote_function` and `actor`.  Runs in the user's thread; what it makes is taken in by
the leading thread.
"""

from __future__ import annotations

from typing import Any

from rayhpc.runtime import getting, serialization
from rayhpc.runtime.entries import STORED, Entry
from rayhpc.runtime.execution import pack_arguments
from rayhpc.runtime.pending import Pending
from rayhpc.runtime.process import Process
from rayhpc.runtime.references import ObjectRef
from rayhpc.runtime.streams import ObjectRefGenerator
from rayhpc.wire.address import RESULTS_MAX, sibling
from rayhpc.wire.messages.tasks import DYNAMIC, STREAMING

RETURNS = {"dynamic": DYNAMIC, "streaming": STREAMING}


def returns_of(num_returns: int | str | None) -> int:
    """num_returns as messages carry it."""
    if num_returns is None:
        return 1
    if isinstance(num_returns, str):
        return RETURNS[num_returns]
    return min(num_returns, RESULTS_MAX)


def set_arguments(
    process: Process, pending: Pending, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Serialize the arguments into a record; True: they went to the store as one object.

    Raises:
        TypeError: an argument cannot be pickled; the text names the path to what cannot.
    """
    payload, deps = pack_arguments(args, kwargs)
    packed = serialization.serialize(payload)
    keep = packed.refs + deps
    is_large = packed.nbytes > getting.INLINE_BYTES
    if is_large:
        oid = process.new_id()
        where = getting.store_value(process, oid, packed)
        entry = Entry()
        entry.state, entry.value, entry.size = STORED, where.node, where.size
        process.ownership.table[oid] = entry
        blob: ObjectRef[Any] = ObjectRef(oid)
        deps.insert(0, blob)
        keep.append(blob)
    else:
        pending.args = serialization.to_inline(packed)
    if deps:
        pending.deps = deps
    if keep:
        pending.keep = keep
    return is_large


def references_of(process: Process, pending: Pending) -> Any:
    """Enter the results into the table; what the caller gets: a reference, a list, or None."""
    table = process.ownership.table
    tid = pending.tid
    returns = pending.returns
    if returns == 1:
        table[tid] = Entry(pending)
        return ObjectRef(tid)
    if returns > 1:
        refs = []
        for i in range(returns):
            oid = sibling(tid, i)
            table[oid] = Entry(pending)
            refs.append(ObjectRef(oid))
        return refs
    table[tid] = Entry(pending)
    end: ObjectRef[Any] = ObjectRef(tid)
    if returns == STREAMING:
        return ObjectRefGenerator(pending.stream, end, pending)
    return None if returns == 0 else end
