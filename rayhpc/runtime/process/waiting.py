"""`wait`: which of many references and generators are ready.

Used by `client`.  Only the waiting thread checks; while it waits, its ticket is registered with
what is not ready, and the leading thread fills it.  Nothing stays registered afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rayhpc.runtime.owner.entries import ERROR, PENDING, STORED
from rayhpc.runtime.owner.tickets import Ticket
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.store_client import Promise
from rayhpc.wire.address import ObjectId, node_of


class Items(Protocol):
    """A generator of references, as users hold it."""

    def refuse_foreign(self) -> None:
        """Reject a generator of a cluster that this program has left."""

    def next_ready(self) -> bool:
        """Whether the next item can be taken without waiting."""

    def is_finished(self) -> bool:
        """Whether the task has ended and every item has been taken."""

    def when_news(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the leading thread at the next item or the end (at once if ready)."""

    def forget_news(self, callback: Callable[[], object]) -> None:
        """Undo `when_news`."""


Waitable = ObjectRef[Any] | Items


class Wait:
    """One `wait`.

    Args:
        objects: this process's objects.
        things: what to wait for; already checked.
        count: how many are enough.
        fetch_local: count an object only once it is on this node.
    """

    def __init__(
        self, objects: Objects, things: Sequence[Waitable], count: int, fetch_local: bool
    ) -> None:
        self._objects = objects
        self._core = objects.core
        self._things = things
        self._fetch_local = fetch_local
        self._node = node_of(self._core.me)
        self._found: list[int] = []
        self._left: Sequence[int] = range(len(things))
        self._missing = count
        # Objects on other nodes, and what is filled when they have been brought here.
        self._brought: dict[ObjectId, _Arrival] = {}

    def run(self, timeout: float | None) -> tuple[list[Waitable], list[Waitable]]:
        """Wait until enough are ready or the timeout (in seconds) has passed; (ready, the rest).

        Raises:
            RaySystemError: one belongs to a cluster that this process has left.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._look()
        if self._missing > 0:
            self._ask_for_foreign()
            self._look()
        while self._missing > 0:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            is_filled = self._wait(left)
            if self._core.ended is not None:
                raise self._core.end_error()
            self._look()
            if not is_filled:
                break
        return self._divided(sorted(self._found))

    def _divided(self, found: list[int]) -> tuple[list[Waitable], list[Waitable]]:
        """The things at these positions, and the rest: usually one, out of a thousand."""
        things = self._things
        rest: list[Waitable] = []
        start = 0
        for i in found:
            rest += things[start:i]
            start = i + 1
        rest += things[start:]
        return [things[i] for i in found], rest

    # -- checks ------------------------------------------------------------------------------------
    def _look(self) -> None:
        """Separate what is ready from what is not (only the waiting thread)."""
        left: list[int] = []
        for position, i in enumerate(self._left):
            if self._missing <= 0:
                left += self._left[position:]
                break
            if self._is_there(self._things[i]):
                self._found.append(i)
                self._missing -= 1
            else:
                left.append(i)
        self._left = left

    def _is_there(self, thing: Waitable) -> bool:
        if not isinstance(thing, ObjectRef):
            thing.refuse_foreign()
            return thing.next_ready() or thing.is_finished()
        oid = thing.binary()
        entry = self._core.ownership.table.get(oid)
        if entry is None or entry.state == PENDING:
            return False
        if entry.state == ERROR:
            self._core.ownership.unread.read(oid)
        if not self._fetch_local or entry.state != STORED or entry.value == self._node:
            return True
        return self._is_here(oid)

    def _is_here(self, oid: ObjectId) -> bool:
        """Whether an object from another node has been brought here."""
        if self._core.store.view(oid) is not None:
            return True
        arrival = self._brought.get(oid)
        if arrival is None:
            self._brought[oid] = _Arrival()
            return False
        # If it could not be brought, `get` will report that.
        return arrival.value is not None

    # -- waiting -----------------------------------------------------------------------------------
    def _wait(self, timeout: float | None) -> bool:
        """Wait until the missing number has arrived; False after the timeout."""
        ticket = Ticket(self._missing)
        note = ticket.note
        with self._objects.loop.lead():
            self._register(note)
        try:
            return self._objects.wait(ticket.is_filled, timeout)
        finally:
            self._objects.loop.tidy(lambda: self._unregister(note))

    def _register(self, note: Callable[[], None]) -> None:
        """Have `note` called for each that arrives from now on, or has arrived in the meantime."""
        table = self._core.ownership.table
        fetch: list[ObjectId] = []
        for i in self._left:
            thing = self._things[i]
            if not isinstance(thing, ObjectRef):
                thing.when_news(note)
                continue
            oid = thing.binary()
            arrival = self._brought.get(oid) if self._brought else None
            if arrival is None:
                entry = table.get(oid)
                if entry is not None:
                    entry.when_ready(note)
            elif arrival.register(note):
                fetch.append(oid)
        if fetch:
            promises: list[Promise] = [self._brought[oid] for oid in fetch]
            self._core.store.fetch(fetch, promises, pin=False)

    def _unregister(self, note: Callable[[], None]) -> None:
        table = self._core.ownership.table
        for i in self._left:
            thing = self._things[i]
            if not isinstance(thing, ObjectRef):
                thing.forget_news(note)
                continue
            entry = table.get(thing.binary())
            if entry is not None and entry.callbacks is not None:
                entry.forget_ready(note)
        for arrival in self._brought.values():
            arrival.note = None

    def _ask_for_foreign(self) -> None:
        objects, core = self._objects, self._core
        table, mine = core.ownership.table, core.ownership.is_mine
        foreign: list[ObjectRef[Any]] = []
        for thing in map(self._things.__getitem__, self._left):
            if not isinstance(thing, ObjectRef):
                continue
            oid = thing.binary()
            if oid not in table:
                objects.entry_of(thing)
            if not mine(oid):
                foreign.append(thing)
        if foreign:
            objects.look_for(foreign)


class _Arrival(Promise):
    """A promise for an object that is being brought here."""

    __slots__ = ("is_asked_for", "note")

    def __init__(self) -> None:
        super().__init__()
        self.is_asked_for = False
        self.note: Callable[[], None] | None = None

    def register(self, note: Callable[[], None]) -> bool:
        """Have `note` called once it is filled (leading thread); True: it must be requested."""
        if self.value is not None:
            note()
            return False
        self.note = note
        is_first, self.is_asked_for = not self.is_asked_for, True
        return is_first

    def fill(self, value: Any) -> None:
        """It has arrived, or cannot be brought (leading thread)."""
        super().fill(value)
        if self.note is not None:
            self.note()
