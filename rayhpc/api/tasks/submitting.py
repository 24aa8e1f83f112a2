"""The common part of `f.remote()` and `actor.method.remote()`: arguments, records, references.

Used by `remote_function`, `actor_method` and `actor_class`.  Runs in the user's thread; what it
makes is taken in by the leading thread.
"""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.owner.entries import STORED, Entry
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.streams import ObjectRefGenerator
from rayhpc.runtime.process.process import Process
from rayhpc.runtime.values import getting, serialization
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.worker.execution import pack_arguments
from rayhpc.wire.address import RESULTS_MAX, sibling
from rayhpc.wire.messages.tasks import DYNAMIC, STREAMING

RETURNS = {"dynamic": DYNAMIC, "streaming": STREAMING}


def returns_of(num_returns: int | str | None, is_generator: bool) -> int:
    """num_returns as messages carry it; generators stream unless they are told otherwise."""
    if num_returns is None:
        return STREAMING if is_generator else 1
    if isinstance(num_returns, str):
        return RETURNS[num_returns]
    return min(num_returns, RESULTS_MAX)


def set_arguments(
    process: Process, pending: Pending, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Serialize the arguments into a record; True: they went to the store as one object.

    Raises:
        TypeError: an argument cannot be pickled; the text names the path to what cannot.
        RaySystemError: an argument belongs to a cluster that this program has left.
    """
    if not kwargs and serialization.ATOMS.issuperset(map(type, args)):
        # Nothing in them to look for: saves three quarters of the time (3 µs).
        pending.args = serialization.dumps(args, 5)
        pending.size = len(pending.args)
        if pending.size <= getting.INLINE_BYTES:
            return False
    payload, deps = pack_arguments(args, kwargs)
    for ref in deps:
        process.ownership.refuse_foreign(ref.binary(), repr(ref))
    try:
        packed = serialization.serialize(payload)
    except TypeError as error:
        raise _unpicklable(pending.name, args, kwargs, error) from error.__cause__
    keep = packed.refs + deps
    is_large = packed.nbytes > getting.INLINE_BYTES
    if is_large:
        oid = process.new_id()
        where = getting.store_value(process, oid, packed)
        entry = Entry()
        entry.state, entry.value, entry.size = STORED, where.node, where.size
        process.ownership.table[oid] = entry
        blob: ObjectRef[Any] = ObjectRef(oid, True)
        deps.insert(0, blob)
        keep.append(blob)
    pending.args = b"" if is_large else serialization.to_inline(packed)
    pending.size = len(pending.args)
    if deps:
        pending.deps = deps
    if keep:
        pending.keep = keep
    return is_large


def _unpicklable(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], error: TypeError
) -> TypeError:
    """Which argument cannot be pickled, and where inside it."""
    from rayhpc.runtime.values import pickle_path

    named = {**{f"argument {i}": x for i, x in enumerate(args)}, **_quoted(kwargs)}
    for where, value in named.items():
        try:
            serialization.serialize(value)
        except TypeError:
            path, culprit = pickle_path.find(value)
            return TypeError(
                f"Cannot send {where}{path} of {name}(): a {type(culprit).__name__} cannot be "
                f"pickled ({error.__cause__ or error}). Make it inside the task or actor that "
                "needs it, leave it out with __getstate__, or send what it is made from."
            )
    return error


def _quoted(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {f"argument {key!r}": value for key, value in kwargs.items()}


def references_of(process: Process, pending: Pending) -> Any:
    """Enter the results into the table; what the caller gets: a reference, a list, or None."""
    table = process.ownership.table
    tid = pending.tid
    returns = pending.returns
    if returns == 1:
        table[tid] = Entry(pending)
        return ObjectRef(tid, True)
    if returns > 1:
        refs: list[ObjectRef[Any]] = []
        for i in range(returns):
            oid = sibling(tid, i)
            table[oid] = Entry(pending)
            refs.append(ObjectRef(oid, True))
        return refs
    table[tid] = Entry(pending)
    end: ObjectRef[Any] = ObjectRef(tid, True)
    if returns == STREAMING:
        return ObjectRefGenerator(pending.stream, end, pending)
    return None if returns == 0 else end
