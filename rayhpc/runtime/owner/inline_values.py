"""The small values and arguments in this process's memory: counted, within a budget.

Used by `ownership` and `results` (which report what comes and goes) and by `process.objects` and
`api` (which ask whether there is room).  What is created when there is no room goes to the node's
store; results, which arrive unasked, are moved there, oldest first.  A state machine driven by the
leading thread; any thread may report values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from rayhpc.runtime.owner.entries import INLINE, STORED, Entry
from rayhpc.runtime.values import serialization, stored
from rayhpc.runtime.values.serialization import COUNTED_BYTES
from rayhpc.runtime.values.store_client import StoreClient
from rayhpc.wire.address import Address, NodeNumber, ObjectId, raylet_of
from rayhpc.wire.messages import objects

Send = Callable[[Address, msgspec.Struct], None]

BUDGET_BYTES = 64 * 2**20
# How many moves may be in progress.
MOVES = 16
# After the store had no room: this much more must arrive before it is asked again.
PAUSE_BYTES = 8 * 2**20


class _Move(NamedTuple):
    """A value being moved to the store: its entry, and its bytes there and in the account."""

    entry: Entry
    size: int
    counted: int


class InlineValues:
    """What counts towards the budget of one process.

    Args:
        store: its node's store.
        node: that node.
        send: sends a message.

    Attributes:
        total: bytes of the small values and of the arguments of unfinished tasks.
        noted: values that have arrived and are not counted yet.
        moving: those on their way to the store; with neither, `settle` has nothing to do.
    """

    def __init__(self, store: StoreClient, node: NodeNumber, send: Send) -> None:
        self._store = store
        self._node = node
        self._send = send
        self.total = 0
        # In order of arrival.
        self._values: dict[ObjectId, Entry] = {}
        self.noted: deque[tuple[ObjectId, Entry]] = deque()
        self.moving: dict[ObjectId, _Move] = {}
        self._moving_bytes = 0
        self._pause_until = 0

    # -- any thread -------------------------------------------------------------------------------
    def note(self, oid: ObjectId, entry: Entry) -> None:
        """A value of more than COUNTED_BYTES is in this process."""
        self.noted.append((oid, entry))

    def has_room(self, size: int) -> bool:
        """Whether a value or an argument of this size may stay in this process."""
        noted = len(self.noted) * serialization.FAR_BYTES  # at most
        return size <= COUNTED_BYTES or self.total + noted + size <= BUDGET_BYTES

    # -- the leading thread -----------------------------------------------------------------------
    def count(self, size: int) -> None:
        """Arguments of this many bytes wait (negative: no longer)."""
        self.total += size

    def forget(self, oid: ObjectId) -> None:
        """A value is gone."""
        if self.noted:
            self._take_in()
        entry = self._values.pop(oid, None)
        if entry is not None:
            self.total -= len(entry.value)

    def settle(self) -> None:
        """Count what has arrived, and move what exceeds the budget."""
        self._take_in()
        for oid in [x for x in self.moving if self._store.created(x) is not None]:
            self._finish(oid, self.moving.pop(oid))
        if self.total - self._moving_bytes > BUDGET_BYTES and self.total >= self._pause_until:
            self._start()

    def _take_in(self) -> None:
        while self.noted:
            oid, entry = self.noted.popleft()
            if entry.state == INLINE and oid not in self._values:
                self._values[oid] = entry
                self.total += len(entry.value)

    def _start(self) -> None:
        for oid, entry in self._values.items():
            if len(self.moving) >= MOVES or self.total - self._moving_bytes <= BUDGET_BYTES:
                return
            if oid not in self.moving:
                packed = serialization.unpacked(entry.value)
                move = self.moving[oid] = _Move(entry, stored.size_of(packed), len(entry.value))
                self._moving_bytes += move.counted
                self._store.create(oid, move.size, entry.attempt)

    def _finish(self, oid: ObjectId, move: _Move) -> None:
        """The store has answered."""
        self._moving_bytes -= move.counted
        answer, entry = self._store.created(oid), move.entry
        assert answer is not None
        if answer.offset < 0:
            self._store.place_refused(oid)
            self._pause_until = self.total + PAUSE_BYTES
            return
        is_here = self._values.get(oid) is entry
        if is_here:
            self._store.write_small(oid, move.size, serialization.unpacked(entry.value))
        else:
            self._store.place(oid, move.size)
        self._store.seal(oid, move.size)
        if not is_here:  # nobody refers to it any more
            self._send(raylet_of(self._node), objects.Free([oid]))
            return
        self.forget(oid)
        entry.size = move.size
        # In this order: readers in other threads read the value first.
        entry.state = STORED
        entry.value = self._node
