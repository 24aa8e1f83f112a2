"""The objects of one process: its entries in the reference table, and its node's store.

Part of every driver and worker (`client`, `worker.execution`).  Runs in user threads; takes the
lead only to request what is not here.  Values are written to the store in the calling thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rayhpc.exceptions import GetTimeoutError, ObjectStoreFullError
from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.entries import INLINE, STORED, Entry
from rayhpc.runtime.owner.tickets import Ticket
from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.loop import Loop
from rayhpc.runtime.values import serialization, stored
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.serialization import COUNTED_BYTES, FAR_BYTES, INLINE_BYTES, Serialized
from rayhpc.runtime.values.store_client import Tickets
from rayhpc.wire.address import ObjectId, node_of, owner_of
from rayhpc.wire.messages.common import Stored

Wait = Callable[[Callable[[], bool], float | None], bool]


class Objects:
    """The objects that one process owns, borrows and reads.

    Args:
        core: its tables.
        loop: what serves them.
    """

    def __init__(self, core: Core, loop: Loop) -> None:
        self.core = core
        self.table = core.ownership.table
        self._new_id = core.new_id
        self.loop = loop

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait in user code until `done()`; False after `timeout` seconds, or on an interrupt."""
        return self.core.role.wait_blocking(done, timeout)

    # -- entries of the table --------------------------------------------------------------------
    def entry_of(self, ref: ObjectRef[Any]) -> Entry:
        """The table's entry for a reference held here, for as long as it is held.

        Raises:
            RaySystemError: it belongs to a cluster that this process has left.
        """
        ownership = self.core.ownership
        # Of what others own the entry goes with the last reference.  If that has been dropped, but
        # not processed yet, what the table has is about to be replaced: nothing would complete it.
        if ownership.events and not ownership.is_mine(ref.binary()):
            with self.loop.lead():
                ownership.settle()
        entry = ownership.table.get(ref.binary())
        if entry is None:
            with self.loop.lead():
                ownership.settle()
            entry = ownership.table.get(ref.binary())
        if entry is None:
            raise failures.of_another_cluster(repr(ref))
        return entry

    def look_for(self, refs: Iterable[ObjectRef[Any]]) -> None:
        """Find out the state of objects that others own."""
        with self.loop.lead():
            self.core.ownership.settle()
            for ref in refs:
                self.core.look_for(ref)

    def when_ready(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """Run `callback` in the leading thread once the object is ready or has failed."""
        entry, core = self.entry_of(ref), self.core
        with self.loop.lead():
            if core.submitter.inbox or core.callers.inbox:
                core.advance()  # nobody is to wait for what has not gone out
            entry.when_ready(callback)
            core.look_for(ref)
            if core.ended is not None:
                core.fail_what_is_pending()

    def most_inline(self, oid: ObjectId) -> int:
        """The largest value, in bytes, that travels to the object's owner in a message."""
        is_far = node_of(owner_of(oid)) != node_of(self.core.me)
        return FAR_BYTES if is_far else INLINE_BYTES

    def most_argument(self) -> int:
        """The largest argument, in bytes, that travels with its task.

        Whether it goes to another node is not known yet: probably, if others do.
        """
        return FAR_BYTES if self.loop.transport.links.count() else INLINE_BYTES

    # -- values on their way in ------------------------------------------------------------------
    def put(self, packed: Serialized) -> ObjectRef[Any]:
        """Create an object of ours; large ones, and small ones beyond the budget, go to the store.

        Raises:
            ObjectStoreFullError: no room; the text lists what occupies it.
        """
        oid = self._new_id()
        size = packed.nbytes
        inner = packed.refs or None
        if size <= COUNTED_BYTES or (size <= INLINE_BYTES and self.has_room(size)):
            # Most values have no buffers, and this is part of every put.
            value = serialization.to_inline(packed) if packed.buffers else packed.pickled
            entry = Entry(None, INLINE, value, inner=inner, size=size)
            if size > COUNTED_BYTES:
                self.core.inline.note(oid, entry)
        else:
            entry = Entry(None, STORED, self.store(oid, packed).node, inner=inner, size=size)
        self.table[oid] = entry
        return ObjectRef(oid, True)

    def has_room(self, size: int) -> bool:
        """Whether a small value or argument may stay in this process (`owner.inline_values`)."""
        inline = self.core.inline
        if inline.has_room(size):
            return True
        self.loop.flush()  # values not counted yet are counted at their maximum size
        return inline.has_room(size)

    def store(self, oid: ObjectId, packed: Serialized, attempt: int = 0) -> Stored:
        """Write a value to this node's store as object `oid`, and seal it.

        Args:
            oid: the object.
            packed: the value.
            attempt: the attempt of its task that makes it.

        Raises:
            ObjectStoreFullError: no room; the text lists what occupies it.
        """
        size = stored.size_of(packed)
        store = self.core.store
        with self.loop.lead():
            store.create(oid, size, attempt)
        self.loop.wait_until(lambda: store.created(oid) is not None)
        answer = store.created(oid)
        assert answer is not None
        if answer.offset < 0:
            store.place_refused(oid)
            raise ObjectStoreFullError(answer.error)
        if packed.nbytes <= INLINE_BYTES:
            store.write_small(oid, size, packed)
        else:
            stored.write(store.place(oid, size), packed)
        with self.loop.lead():
            store.seal(oid, size)
        return Stored(size, node_of(self.core.me))

    # -- values on their way out -----------------------------------------------------------------
    def fetch_views(
        self, oids: list[ObjectId], deadline: float | None, wait: Wait | None = None
    ) -> dict[ObjectId, Any]:
        """Exporters (pinned views) of stored objects, brought here first if needed.

        For an object that is unavailable, its `FetchFailed` message.

        Args:
            oids: which objects.
            deadline: how long to wait for them, in monotonic seconds; None: for ever.
            wait: waits in user code; None: `self.wait`.

        Raises:
            GetTimeoutError: the deadline (monotonic seconds) has passed.
        """
        arrived = Ticket()
        tickets = Tickets(oids, arrived.note)
        store = self.core.store
        with self.loop.lead():
            self.core.ownership.settle()
            store.fetch(oids, tickets.promises)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        there = False
        try:
            there = (wait or self.wait)(arrived.is_filled, left)
        finally:
            if not there:
                self.loop.tidy(lambda: store.cancel(oids, tickets.promises))
        if not there:
            raise GetTimeoutError(
                f"{len(oids)} object(s) did not arrive in time; still being fetched."
            )
        return tickets.values()
