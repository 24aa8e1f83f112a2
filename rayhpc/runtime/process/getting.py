"""`get`: the values of references, from the table, the node's store, or wherever they are.

Used by `client` and `futures`.  Runs in user threads; takes the lead only to request what is not
here.  Values are decoded in the calling thread, large ones in place (read-only views).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rayhpc.exceptions import GetTimeoutError, ObjectStoreFullError
from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values import serialization, stored
from rayhpc.runtime.values.errors import load_error
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.store_client import Promise
from rayhpc.wire.address import ObjectId
from rayhpc.wire.messages.objects import FULL, FetchFailed

loads = serialization.loads


def get_values(
    objects: Objects, refs: Sequence[ObjectRef[Any]], timeout: float | None
) -> list[Any]:
    """The values of `refs`, in order.

    Raises:
        GetTimeoutError: not all were ready within `timeout` seconds.
        RayError: the first error among them, as soon as it is known.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    values = []
    find = objects.table.get
    getter: _Getter | None = None
    for i, ref in enumerate(refs):
        entry = find(ref._id)
        if entry is not None:
            value = entry.value  # first: it may be on its way to the store
            if entry.state == INLINE:
                # Most are plain pickles: `from_inline` inlined, for lists of thousands.
                is_plain = value[0] == serialization.PICKLE
                values.append(loads(value) if is_plain else serialization.from_inline(value))
                continue
        if getter is None:
            getter = _Getter(objects, refs, deadline)
        values.append(getter.value(i))
    return values


class _Getter:
    """One `get` that found a value that is not simply here."""

    def __init__(
        self, objects: Objects, refs: Sequence[ObjectRef[Any]], deadline: float | None
    ) -> None:
        self._objects = objects
        self._core = objects.core
        self._refs = refs
        self._deadline = deadline
        # How many failures the process knew of when the references were last scanned.
        self._seen = -1
        self._asked = False
        # Which objects have been fetched ahead: each turn looks at nearly the same ones again.
        self._ahead: set[ObjectId] = set()

    def value(self, i: int) -> Any:
        """The value of reference `i`; all before it are done."""
        core = self._core
        ref = self._refs[i]
        oid = ref.binary()
        while True:
            entry = self._objects.entry_of(ref)
            value, state = entry.value, entry.state  # in this order, as above
            if state == INLINE:
                return serialization.from_inline(value)
            if state == ERROR:
                raise self._failed(value)
            if state == PENDING:
                if i + 1 < len(self._refs):
                    self._wait_for(i, entry)
                    continue
                if core.ownership.is_mine(oid):
                    self._wait_for_last(i, entry)
                    continue
            view = core.store.view(oid)
            if view is None:
                view = self._fetch_with_followers(i)
            if isinstance(view, FetchFailed):
                _check_room(view)
                continue
            return stored.read(view)

    def _fetch_with_followers(self, i: int) -> Any:
        """Fetch reference `i`; start fetching those behind it that must come from a store."""
        core = self._core
        table = core.ownership.table
        oid = self._refs[i].binary()
        ahead = []
        for ref in self._refs[i + 1 : i + 64]:
            other = ref.binary()
            if other in self._ahead:
                continue
            entry = table.get(other)
            is_stored = entry is not None and entry.state == STORED
            if is_stored and other != oid and core.store.view(other) is None:
                ahead.append(other)
                self._ahead.add(other)
        if ahead:
            with self._objects.loop.lead():
                core.store.fetch(ahead, [Promise() for _ in ahead], pin=False)
        return self._objects.fetch_views([oid], self._deadline)[oid]

    def _wait_for(self, i: int, entry: Entry) -> None:
        """Wait until an object leaves PENDING; an error of a later one is raised at once."""
        objects, results = self._objects, self._core.results
        if not self._asked:
            self._asked = True
            self._ask_for_foreign(i)
        self._raise_failed(i)
        seen = self._seen
        done = objects.wait(
            lambda: entry.state != PENDING or results.failures != seen, self._left()
        )
        self._raise_failed(i)
        if not done:
            raise self._timed_out(i)

    def _wait_for_last(self, i: int, entry: Entry) -> None:
        """Wait until our last object leaves PENDING; `value` finds what has become of it."""
        if not self._objects.wait(lambda: entry.state != PENDING, self._left()):
            raise self._timed_out(i)

    def _left(self) -> float | None:
        """How many seconds there are left."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _timed_out(self, i: int) -> GetTimeoutError:
        rest = self._refs[i:]
        waiting = sum(1 for ref in rest if self._objects.entry_of(ref).state == PENDING)
        return GetTimeoutError(
            f"Get timed out: {waiting} of {len(self._refs)} object(s) not there yet. They go "
            "on being computed; call get again, or wait(timeout=…) to look without an error."
        )

    def _raise_failed(self, i: int) -> None:
        """Raise the first error among the references from `i` on, if there can be a new one."""
        failures_now = self._core.results.failures
        if failures_now == self._seen:
            return
        self._seen = failures_now
        table = self._core.ownership.table
        for ref in self._refs[i:]:
            other = table.get(ref.binary())
            if other is not None and other.state == ERROR:
                raise self._failed(other.value)

    def _failed(self, error: bytes) -> BaseException:
        """The error to raise: the others of these references are no news from now on."""
        unread, table = self._core.ownership.unread, self._core.ownership.table
        for ref in self._refs:
            entry = table.get(ref.binary())
            if entry is not None and entry.state == ERROR:
                unread.read(ref.binary())
            elif entry is not None and entry.task is not None:
                entry.task.awaited = True
        return load_error(error)

    def _ask_for_foreign(self, i: int) -> None:
        """Have the state of objects that others own looked up, all at once."""
        mine = self._core.ownership.is_mine
        foreign = [ref for ref in self._refs[i:] if not mine(ref.binary())]
        if foreign:
            self._objects.look_for(foreign)


def _check_room(failed: FetchFailed) -> None:
    if failed.kind == FULL:
        raise ObjectStoreFullError(failed.text)
