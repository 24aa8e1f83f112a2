"""`get`, `wait` and `put` in terms of one process's tables and its node's store.

Used by `api` and `execution`.  Runs in user threads; takes the lead only to ask for what is not
here.  Values are decoded in the calling thread, large ones in place (read-only views).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rayhpc.exceptions import GetTimeoutError, ObjectStoreFullError
from rayhpc.runtime import failures, serialization
from rayhpc.runtime.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.errors import load_error
from rayhpc.runtime.references import ObjectRef
from rayhpc.runtime.store_client import Box
from rayhpc.store import layout
from rayhpc.wire.address import ObjectId, node_of
from rayhpc.wire.messages import objects
from rayhpc.wire.messages.common import Stored

if TYPE_CHECKING:
    from rayhpc.runtime.process import Process

# Values up to this size stay in their owner's table and travel inside messages.
INLINE_BYTES = 100 * 1024


def get_values(
    process: Process, refs: Sequence[ObjectRef[Any]], timeout: float | None
) -> list[Any]:
    """The values of `refs`, in order.

    Raises:
        GetTimeoutError: not all were there within `timeout` seconds.
        RayError: the first error among them, as soon as it is known.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    values = []
    table = process.ownership.table
    for i, ref in enumerate(refs):
        entry = table.get(ref.binary())
        if entry is None or entry.state != INLINE:
            values.append(_value(process, refs, i, deadline))
        else:
            values.append(serialization.from_inline(entry.value))
    return values


def wait_ready(
    process: Process,
    refs: Sequence[ObjectRef[Any]],
    count: int,
    timeout: float | None,
) -> list[bool]:
    """Which of `refs` are there (or have failed), once `count` are or the time is over."""
    entries = [process.entry_of(ref) for ref in refs]
    left = [entry for entry in entries if entry.state == PENDING]
    if len(entries) - len(left) < count and left:
        missing = count - (len(entries) - len(left))
        arrived: list[None] = []
        with process.lead():
            for ref, entry in zip(refs, entries, strict=True):
                if entry.state == PENDING:
                    entry.when_ready(lambda: arrived.append(None))
                    process.look_for(ref)
        process.wait_blocking(lambda: len(arrived) >= missing, timeout)
    return [entry.state != PENDING for entry in entries]


def put_value(process: Process, value: Any) -> ObjectRef[Any]:
    """Make an object of ours; large ones go to the node's store.

    Raises:
        ObjectStoreFullError: no room, with what holds it.
        TypeError: the value cannot be pickled.
    """
    packed = serialization.serialize(value)
    oid = process.new_id()
    entry = Entry()
    entry.inner = packed.refs or None
    entry.size = packed.nbytes
    if packed.nbytes <= INLINE_BYTES:
        entry.value = serialization.to_inline(packed)
        entry.state = INLINE
    else:
        store_value(process, oid, packed)
        entry.value = node_of(process.me)
        entry.state = STORED
    process.ownership.table[oid] = entry
    return ObjectRef(oid)


def store_value(process: Process, oid: ObjectId, packed: serialization.Serialized) -> Stored:
    """Write a value to this node's store as object `oid`, and seal it.

    Raises:
        ObjectStoreFullError: no room, with what holds it.
    """
    size = layout.size_needed(packed.pickled, packed.buffers)
    store = process.store
    with process.lead():
        store.create(oid, size)
    process.wait_until(lambda: store.created(oid) is not None)
    answer = store.created(oid)
    assert answer is not None
    if answer.offset < 0:
        store.place_refused(oid)
        raise ObjectStoreFullError(answer.error)
    layout.write_into(store.place(oid, size), packed.pickled, packed.buffers)
    with process.lead():
        store.seal(oid, size)
    return Stored(size, node_of(process.me))


def read_value(view: Any) -> Any:
    """The value in a stored object's memory, its buffers in place."""
    pickled, buffers = layout.parse(view)
    return serialization.deserialize(pickled, buffers)


def fetch_views(
    process: Process, oids: list[ObjectId], deadline: float | None
) -> dict[ObjectId, Any]:
    """Exporters (pinned views) of stored objects, brought here first if need be.

    What cannot be had comes as its `FetchFailed` message.

    Raises:
        GetTimeoutError: the deadline (monotonic seconds) has passed.
    """
    boxes = [Box() for _ in oids]
    with process.lead():
        process.ownership.settle()
        process.store.fetch(oids, boxes)
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    done = _all_filled(boxes)
    there = False
    try:
        there = process.wait_blocking(done, left)
    finally:
        if not there:
            with process.lead():
                process.store.cancel(oids, boxes)
    if not there:
        raise GetTimeoutError(f"{len(oids)} object(s) did not arrive in time; still being fetched.")
    return {oid: box.value for oid, box in zip(oids, boxes, strict=True)}


def _all_filled(boxes: list[Box]) -> Callable[[], bool]:
    position = 0

    def done() -> bool:
        nonlocal position
        while position < len(boxes) and boxes[position].value is not None:
            position += 1
        return position == len(boxes)

    return done


def _value(
    process: Process, refs: Sequence[ObjectRef[Any]], i: int, deadline: float | None
) -> Any:
    """The value of `refs[i]`, which is not simply here yet."""
    ref = refs[i]
    oid = ref.binary()
    mine = process.ownership.is_mine(oid)
    while True:
        entry = process.entry_of(ref)
        state = entry.state
        if state == INLINE:
            return serialization.from_inline(entry.value)
        if state == ERROR:
            raise load_error(entry.value)
        if state == PENDING and mine:
            _wait_for(process, refs, i, entry, deadline)
            continue
        view = process.store.view(oid)
        if view is None:
            view = _fetch_with_followers(process, refs, i, deadline)
        if isinstance(view, objects.FetchFailed):
            _check_room(view)
            continue
        return read_value(view)


def _fetch_with_followers(
    process: Process, refs: Sequence[ObjectRef[Any]], i: int, deadline: float | None
) -> Any:
    """Fetch `refs[i]`; those behind it that must come from a store start on their way as well."""
    table = process.ownership.table
    oid = refs[i].binary()
    ahead = []
    for ref in refs[i + 1 : i + 64]:
        other = ref.binary()
        entry = table.get(other)
        stored = entry is not None and entry.state == STORED
        if stored and other != oid and process.store.view(other) is None:
            ahead.append(other)
    if ahead:
        with process.lead():
            process.store.fetch(ahead, [Box() for _ in ahead], pin=False)
    return fetch_views(process, [oid], deadline)[oid]


def _check_room(failed: objects.FetchFailed) -> None:
    if failed.kind == objects.FULL:
        raise ObjectStoreFullError(failed.text)


def _wait_for(
    process: Process,
    refs: Sequence[ObjectRef[Any]],
    i: int,
    entry: Entry,
    deadline: float | None,
) -> None:
    """Wait until an object of ours leaves PENDING; an error of a later one is raised at once."""
    results = process.results
    seen = results.failures
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    done = process.wait_blocking(
        lambda: entry.state != PENDING or results.failures != seen, left
    )
    if results.failures != seen:
        table = process.ownership.table
        for ref in refs[i:]:
            other = table.get(ref.binary())
            if other is not None and other.state == ERROR:
                raise load_error(other.value)
    if not done:
        waiting = sum(1 for ref in refs[i:] if process.entry_of(ref).state == PENDING)
        raise GetTimeoutError(
            f"Get timed out: {waiting} of {len(refs)} object(s) not there yet. They go on being "
            "computed; call get again, or wait(timeout=…) to look without an error."
        )


def lost_error(failed: objects.FetchFailed) -> bytes:
    """The pickled error for what came instead of an object."""
    if failed.kind in (objects.ERROR, objects.VALUE):
        return failed.value
    return failures.lost(failed.kind, failed.oid, failed.text)
