"""This process's side of its node's object store: space for writing, views for reading.

Used by `process` (get, put) and `execution` (large results and arguments).  Owns the mapping of the
store's memory; every view it returns pins its object until the view is gone.  State changes in the
leading thread; writers copy in their own thread.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from rayhpc.runtime.values import stored
from rayhpc.runtime.values.serialization import Serialized
from rayhpc.store.mapping import Mapping
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import objects
from rayhpc.wire.messages.tasks import Dependency

Send = Callable[[Address, msgspec.Struct], None]

# Of so many objects the earliest attempt that will do is remembered.
_LEAST_KEPT = 10_000


class Promise:
    """Where one waiting reader gets its object: the exporter, or a `FetchFailed`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def fill(self, value: Any) -> None:
        """The awaited object has arrived (leading thread)."""
        self.value = value


class _Countdown:
    """Calls `done` once this many promises are filled."""

    __slots__ = ("_done", "_missing")

    def __init__(self, count: int, done: Callable[[], object]) -> None:
        self._missing = count
        self._done = done

    def count(self) -> None:
        """One more promise has been filled."""
        self._missing -= 1
        if not self._missing:
            self._done()


class _CountedPromise(Promise):
    """One of several promises."""

    __slots__ = ("_countdown",)

    def __init__(self, countdown: _Countdown) -> None:
        super().__init__()
        self._countdown = countdown

    def fill(self, value: Any) -> None:
        """Fill this promise; the last one completes them all."""
        super().fill(value)
        self._countdown.count()


class Tickets:
    """Boxes for several objects, and an action in the leading thread once all are filled.

    The promises do not refer back to it: in a reference cycle, arrived objects, even those of an
    abandoned wait, would stay pinned until the garbage collector ran.

    Args:
        oids: the objects, once each.
        done: called once; must not wait.
    """

    def __init__(self, oids: list[ObjectId], done: Callable[[], object]) -> None:
        self.oids = oids
        countdown = _Countdown(len(oids), done)
        self.promises: list[Promise] = [_CountedPromise(countdown) for _ in oids]

    def values(self) -> dict[ObjectId, Any]:
        """The contents of the promises, by object."""
        return {oid: promise.value for oid, promise in zip(self.oids, self.promises, strict=True)}


class _Unpinned(deque[ObjectId]):
    """Where finalizers of views record their objects; `wake` alerts the polling thread."""

    wake: Callable[[], None] | None = None

    def append(self, oid: ObjectId) -> None:
        """Record an object (any thread)."""
        super().append(oid)
        if self.wake is not None:
            self.wake()


class StoreClient:
    """Creates, seals and reads objects of the node's store.

    Args:
        mapping: the store's memory as mapped here.
        raylet: the address of this node's raylet.
        send: sends a message.
    """

    def __init__(self, mapping: Mapping, raylet: Address, send: Send) -> None:
        self._mapping = mapping
        self._raylet = raylet
        self._send = send
        self._views: dict[ObjectId, weakref.ref[Any]] = {}
        self._fetching: dict[ObjectId, list[Promise]] = {}
        self._looking: dict[ObjectId, list[Promise]] = {}
        # Finalizers of views append here; `settle` tells the raylet.
        self._unpinned = _Unpinned()
        self._creating: dict[ObjectId, objects.StoreCreated | None] = {}
        # The earliest attempt that will do, of objects whose task has run again.
        self._least: dict[ObjectId, int] = {}

    def wake_leader_with(self, wake: Callable[[], None] | None) -> None:
        """Set what makes the polling thread tell the raylet about dropped views."""
        self._unpinned.wake = wake

    # -- writing ---------------------------------------------------------------------------------
    def create(self, oid: ObjectId, size: int, attempt: int = 0) -> None:
        """Request space (leading thread); `created` says when the answer has arrived.

        Args:
            oid: the object.
            size: its bytes.
            attempt: the attempt of its task that makes this value.
        """
        self._creating[oid] = None
        self._send(self._raylet, objects.StoreCreate(oid, size, attempt))

    def created(self, oid: ObjectId) -> objects.StoreCreated | None:
        """The answer to `create`, once it has arrived."""
        return self._creating.get(oid)

    def place(self, oid: ObjectId, size: int) -> memoryview:
        """The memory to write to, after `created`."""
        answer = self._creating.pop(oid)
        assert answer is not None
        if answer.path:
            return self._mapping.writable_file(answer.path, answer.offset, size)
        return self._mapping.writable(answer.offset, size)

    def write_small(self, oid: ObjectId, size: int, packed: Serialized) -> None:
        """Write a small value to its space, after `created`.

        Many of them would be written one after another and never again: their memory is not kept
        as this process's.
        """
        answer = self._creating[oid]
        assert answer is not None
        stored.write(self.place(oid, size), packed)
        if not answer.path:
            self._mapping.let_go(answer.offset, size)

    def place_refused(self, oid: ObjectId) -> None:
        """Drop an answer that was a refusal."""
        self._creating.pop(oid, None)

    def seal(self, oid: ObjectId, size: int) -> None:
        """The object has been written (leading thread)."""
        self._send(self._raylet, objects.StoreSeal(oid, size))

    # -- reading ---------------------------------------------------------------------------------
    def note_attempt(self, oid: ObjectId, attempt: int) -> None:
        """Nobody here is to be given what earlier attempts of its task made (any thread)."""
        least = self._least
        if attempt > least.get(oid, 0):
            least[oid] = attempt
            self._views.pop(oid, None)
            if len(least) > _LEAST_KEPT:
                least.pop(next(iter(least)), None)

    def named_in(self, deps: Iterable[Dependency]) -> list[ObjectId]:
        """The arguments that are in a store; notes of which attempt they must be."""
        named = []
        for dep in deps:
            if dep.value is None:
                named.append(dep.oid)
                if dep.attempt:
                    self.note_attempt(dep.oid, dep.attempt)
        return named

    def view(self, oid: ObjectId) -> Any | None:
        """The exporter of an object that is already mapped here, or None."""
        found = self._views.get(oid)
        return None if found is None else found()

    def fetch(self, oids: list[ObjectId], promises: list[Promise], pin: bool = True) -> None:
        """Have objects brought here (leading thread); each promise is filled on arrival.

        With `pin` false a promise becomes True once the object is on this node.
        """
        waiting = self._fetching if pin else self._looking
        new = []
        for oid, promise in zip(oids, promises, strict=True):
            if oid not in waiting:
                waiting[oid] = []
                new.append(oid)
            waiting[oid].append(promise)
        if new:
            self._request(new, pin)

    def _request(self, oids: list[ObjectId], pin: bool) -> None:
        attempts = {}
        if self._least:
            attempts = {oid: self._least[oid] for oid in oids if oid in self._least}
        self._send(self._raylet, objects.Fetch(oids, pin, attempts))

    def bring(self, tickets: Tickets) -> None:
        """`fetch` what is not mapped here (leading thread); may complete the tickets at once."""
        missing = []
        for oid, promise in zip(tickets.oids, tickets.promises, strict=True):
            view = self.view(oid)
            if view is None:
                missing.append((oid, promise))
            else:
                promise.fill(view)
        if missing:
            self.fetch([oid for oid, _ in missing], [promise for _, promise in missing])

    def cancel(self, oids: list[ObjectId], promises: list[Promise]) -> None:
        """Stop waiting for these (leading thread)."""
        for waiting, pin in ((self._fetching, True), (self._looking, False)):
            gone = []
            for oid, promise in zip(oids, promises, strict=True):
                there = waiting.get(oid)
                if there is None or promise not in there:
                    continue
                there.remove(promise)
                if not there:
                    del waiting[oid]
                    gone.append(oid)
            if gone:
                self._send(self._raylet, objects.FetchCancel(gone, pin))

    def on_created(self, message: objects.StoreCreated) -> None:
        """The raylet answers `create`."""
        self._creating[message.oid] = message

    def on_fetched(self, message: objects.Fetched) -> None:
        """An object is here, pinned for us; offset -1: here, but not pinned."""
        oid = message.oid
        pinned = message.offset >= 0
        if message.attempt < self._least.get(oid, 0):
            # It was requested before we knew of a later attempt.
            if pinned:
                self._send(self._raylet, objects.Unpin([oid]))
            if oid in (self._fetching if pinned else self._looking):
                self._request([oid], pinned)
            return
        if not pinned:
            for promise in self._looking.pop(oid, ()):
                promise.fill(True)
            return
        promises = self._fetching.pop(oid, None)
        if promises is None:
            self._send(self._raylet, objects.Unpin([oid]))
            return
        where = message.offset, message.size, self._unpinned, oid
        if message.path:
            exporter = self._mapping.export_file(message.path, *where)
        else:
            exporter = self._mapping.export(*where)
        self._views[oid] = weakref.ref(exporter)
        for promise in promises:
            promise.fill(exporter)

    def on_fetch_failed(self, message: objects.FetchFailed) -> None:
        """Instead of an object, this came."""
        for waiting in (self._fetching, self._looking):
            for promise in waiting.pop(message.oid, ()):
                promise.fill(message)

    def settle(self) -> None:
        """Tell the raylet which views are gone (leading thread)."""
        gone = []
        while self._unpinned:
            oid = self._unpinned.popleft()
            gone.append(oid)
            found = self._views.get(oid)
            if found is not None and found() is None:
                del self._views[oid]
        if gone:
            self._send(self._raylet, objects.Unpin(gone))

    def has_news(self) -> bool:
        """Whether `settle` has something to send."""
        return bool(self._unpinned)

    def close(self) -> None:
        """Release the mapping; views that are still alive keep their memory."""
        self._mapping.close()
