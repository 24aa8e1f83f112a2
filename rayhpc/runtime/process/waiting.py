"""`wait`: which of many references and generators are there.

Used by `client`.  Nothing is registered anywhere, so a `wait` that ends early leaves nothing
behind: while it waits it looks again, but only after as many objects have arrived in this process
as it still lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rayhpc.runtime.owner.entries import PENDING, STORED
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.store_client import Box
from rayhpc.wire.address import node_of


class Items(Protocol):
    """A generator of references, as users hold it."""

    def refuse_foreign(self) -> None:
        """Refuse a generator of a cluster that this program has left."""

    def next_ready(self) -> bool:
        """Whether the next item can be taken without waiting."""

    def is_finished(self) -> bool:
        """Whether the task has ended and every item was taken."""


Waitable = ObjectRef[Any] | Items


class Wait:
    """One `wait`.

    Args:
        objects: this process's.
        things: what to wait for; checked already.
        count: how many are enough.
        fetch_local: count an object only when it lies on this node.
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
        self._brought: dict[bytes, Box] = {}
        self._arrived = 0
        self._seen = 0

    def run(self, timeout: float | None) -> tuple[list[Waitable], list[Waitable]]:
        """Wait until enough are there or the time (seconds) is over; (ready, the rest).

        Raises:
            RaySystemError: one belongs to a cluster that this process has left.
        """
        self._look()
        if self._missing > 0:
            self._ask_for_foreign()
            self._look()
            self._objects.wait(self._done, timeout)
            if self._core.ended is not None:
                raise self._core.end_error()
            self._look()
        return self._divided(sorted(self._found))

    def _divided(self, found: list[int]) -> tuple[list[Waitable], list[Waitable]]:
        """What is at these places, and the rest: mostly one, and a thousand."""
        things = self._things
        rest: list[Waitable] = []
        start = 0
        for i in found:
            rest += things[start:i]
            start = i + 1
        rest += things[start:]
        return [things[i] for i in found], rest

    def _done(self) -> bool:
        """Whether enough are there; asked by whichever thread leads, so it only looks."""
        now = self._core.ownership.changes + self._arrived
        if now - self._seen >= self._missing:
            self._look()
        return self._missing <= 0

    def _look(self) -> None:
        self._seen = self._core.ownership.changes + self._arrived
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
        if not self._fetch_local or entry.state != STORED or entry.value == self._node:
            return True
        return self._is_here(oid)

    def _is_here(self, oid: bytes) -> bool:
        """Whether an object that lies on another node has been brought; starts that."""
        if self._core.store.view(oid) is not None:
            return True
        box = self._brought.get(oid)
        if box is None:
            box = self._brought[oid] = _Arrival(self)
            self._core.later(lambda: self._core.store.fetch([oid], [box], pin=False))
            self._objects.loop.handover.nudge()
        return box.value is not None

    def note_arrival(self) -> None:
        """An object has been brought, or could not be (its error is `get`'s business)."""
        self._arrived += 1

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


class _Arrival(Box):
    """A box that tells when it is filled."""

    __slots__ = ("_filled", "_wait")

    def __init__(self, wait: Wait) -> None:
        self._wait = wait
        self._filled: Any = None

    @property
    def value(self) -> Any:
        """What has come; None: nothing yet."""
        return self._filled

    @value.setter
    def value(self, filled: Any) -> None:
        self._filled = filled
        self._wait.note_arrival()
