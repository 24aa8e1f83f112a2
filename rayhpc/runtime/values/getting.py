"""`get` and `put` in terms of one process's tables and its node's store.

Used by `api` and `execution`.  Runs in user threads; takes the lead only to ask for what is not
here.  Values are decoded in the calling thread, large ones in place (read-only views).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rayhpc.exceptions import GetTimeoutError, ObjectStoreFullError
from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.errors import load_error
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.store_client import Box
from rayhpc.store import layout
from rayhpc.wire.address import ObjectId, node_of
from rayhpc.wire.messages import objects
from rayhpc.wire.messages.common import Stored

if TYPE_CHECKING:
    from rayhpc.runtime.process.process import Process

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
    getter: _Getter | None = None
    for i, ref in enumerate(refs):
        entry = table.get(ref.binary())
        if entry is None or entry.state != INLINE:
            if getter is None:
                getter = _Getter(process, refs, deadline)
            values.append(getter.value(i))
        else:
            values.append(serialization.from_inline(entry.value))
    return values


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
    return ObjectRef(oid, True)


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


class _Getter:
    """One `get` that found something not simply here."""

    def __init__(
        self, process: Process, refs: Sequence[ObjectRef[Any]], deadline: float | None
    ) -> None:
        self._process = process
        self._refs = refs
        self._deadline = deadline
        # How many failures the process knew when the references were last looked through.
        self._seen = -1
        self._asked = False

    def value(self, i: int) -> Any:
        """The value of reference number `i`; all before it are done."""
        process = self._process
        ref = self._refs[i]
        oid = ref.binary()
        while True:
            entry = process.entry_of(ref)
            state = entry.state
            if state == INLINE:
                return serialization.from_inline(entry.value)
            if state == ERROR:
                raise load_error(entry.value)
            if state == PENDING and (process.ownership.is_mine(oid) or i + 1 < len(self._refs)):
                self._wait_for(i, entry)
                continue
            view = process.store.view(oid)
            if view is None:
                view = self._fetch_with_followers(i)
            if isinstance(view, objects.FetchFailed):
                _check_room(view)
                continue
            return read_value(view)

    def _fetch_with_followers(self, i: int) -> Any:
        """Fetch reference `i`; those behind it that must come from a store start as well."""
        process = self._process
        table = process.ownership.table
        oid = self._refs[i].binary()
        ahead = []
        for ref in self._refs[i + 1 : i + 64]:
            other = ref.binary()
            entry = table.get(other)
            stored = entry is not None and entry.state == STORED
            if stored and other != oid and process.store.view(other) is None:
                ahead.append(other)
        if ahead:
            with process.lead():
                process.store.fetch(ahead, [Box() for _ in ahead], pin=False)
        return fetch_views(process, [oid], self._deadline)[oid]

    def _wait_for(self, i: int, entry: Entry) -> None:
        """Wait until an object leaves PENDING; an error of a later one is raised at once."""
        process = self._process
        results = process.results
        if not self._asked:
            self._asked = True
            self._ask_for_foreign(i)
        self._raise_failed(i)
        seen = self._seen
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        done = process.wait_blocking(
            lambda: entry.state != PENDING or results.failures != seen, left
        )
        self._raise_failed(i)
        if not done:
            rest = self._refs[i:]
            waiting = sum(1 for ref in rest if process.entry_of(ref).state == PENDING)
            raise GetTimeoutError(
                f"Get timed out: {waiting} of {len(self._refs)} object(s) not there yet. They go "
                "on being computed; call get again, or wait(timeout=…) to look without an error."
            )

    def _raise_failed(self, i: int) -> None:
        """Raise the first error among the references from `i` on, if there can be a new one."""
        failures_now = self._process.results.failures
        if failures_now == self._seen:
            return
        self._seen = failures_now
        table = self._process.ownership.table
        for ref in self._refs[i:]:
            other = table.get(ref.binary())
            if other is not None and other.state == ERROR:
                raise load_error(other.value)

    def _ask_for_foreign(self, i: int) -> None:
        """Have the state of what others own found out, all at once."""
        process = self._process
        mine = process.ownership.is_mine
        foreign = [ref for ref in self._refs[i:] if not mine(ref.binary())]
        if foreign:
            with process.lead():
                process.ownership.settle()
                for ref in foreign:
                    process.look_for(ref)


def _check_room(failed: objects.FetchFailed) -> None:
    if failed.kind == objects.FULL:
        raise ObjectStoreFullError(failed.text)


def lost_error(failed: objects.FetchFailed) -> bytes:
    """The pickled error for what came instead of an object."""
    if failed.kind in (objects.ERROR, objects.VALUE):
        return failed.value
    return failures.lost(failed.kind, failed.oid, failed.text)
