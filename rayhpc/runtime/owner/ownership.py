"""Who holds what: the reference table, its owned objects, and what is borrowed from others.

A state machine: messages and noted events in, messages out through `send`.  Driven by the leading
thread of a process (`process.py`) and by the simulation.  The rules are in `docs/explanation/
protocol.md`, section References; the one that makes them safe is `after_borrows`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.owner.inline_values import InlineValues
from rayhpc.runtime.owner.unread_errors import UnreadErrors
from rayhpc.runtime.values import references
from rayhpc.runtime.values.errors import dump_system_error
from rayhpc.runtime.values.serialization import COUNTED_BYTES
from rayhpc.wire.address import (
    Address,
    ObjectId,
    id_prefix,
    is_of_cluster,
    node_of,
    owner_of,
    raylet_of,
)
from rayhpc.wire.messages import leases, objects

Send = Callable[[Address, msgspec.Struct], None]


class Ownership:
    """The reference table of one process.

    Args:
        me: this process's address.
        nonce: what the ids of this cluster carry.
        send: puts a message on its way.
        make_again: has a lost object made again; why it cannot be, as a pickled error.
        inline: counts the small values.
        lost: makes the pickled error for a lost (kind, object id).

    Attributes:
        unread: errors of its tasks that nobody has looked at.
    """

    def __init__(
        self,
        me: Address,
        nonce: bytes,
        send: Send,
        inline: InlineValues,
        make_again: Callable[[ObjectId, Entry], bytes | None],
        lost: Callable[..., bytes],
    ) -> None:
        self.me = me
        self.table: dict[ObjectId, Entry] = {}
        self.unread = UnreadErrors()
        self.events = references.events
        # Counts the objects that left PENDING, so that `wait` knows when there is nothing new.
        self.changes = 0
        # Called with an object, and the earliest attempt whose copies will do from now on.
        self.on_new_attempt: Callable[[ObjectId, int], None] = lambda oid, attempt: None
        self._raylet = raylet_of(node_of(me))
        self._prefix = id_prefix(me)
        self._nonce = nonce
        self._send = send
        self._inline = inline
        self._make_again = make_again
        self._lost = lost
        self._token = 0
        self._unacknowledged: dict[int, Address] = {}
        self._waiting_for_borrows: deque[tuple[int, Address, msgspec.Struct]] = deque()
        self._watched: set[Address] = set()
        self._by_borrower: dict[Address, set[ObjectId]] = {}
        self._to_free: list[ObjectId] = []

    # -- called by user threads -----------------------------------------------------------------
    def travelling_value(self, oid: ObjectId) -> tuple[bytes | None, bool, int]:
        """The small value that travels with a reference, and whether it is an error.

        The third is the earliest attempt of its task whose copies will do.
        """
        entry = self.table.get(oid)
        if entry is None:
            self.refuse_foreign(oid, f"Object {oid.hex()}")
            return None, False, 0
        value = entry.value  # First: the value may be on its way to the store.
        if entry.state not in (INLINE, ERROR):
            return None, False, entry.attempt
        if entry.state == ERROR:
            self.unread.read(oid)
            return value, True, entry.attempt
        return value, False, entry.attempt

    def is_foreign(self, oid: ObjectId) -> bool:
        """Whether an object, actor or placement group belongs to another cluster than ours."""
        return not is_of_cluster(oid, self._nonce)

    def refuse_foreign(self, oid: ObjectId, what: str) -> None:
        """Refuse something kept from a cluster that this program has left.

        Args:
            oid: the id of an object, actor or placement group.
            what: how the message names it.

        Raises:
            RaySystemError: it belongs to another cluster.
        """
        if self.is_foreign(oid):
            raise failures.of_another_cluster(what)

    # -- the leading thread ---------------------------------------------------------------------
    def has_news(self) -> bool:
        """Whether `settle` has something to do."""
        return bool(self.events or self._to_free)

    def settle(self) -> None:
        """Process the references created and dropped since the last call."""
        events, table, mine = self.events, self.table, self._prefix
        borrows: dict[Address, list[ObjectId]] = {}
        returns: dict[Address, list[ObjectId]] = {}
        while events:
            event = events.popleft()
            if isinstance(event, tuple):
                entry = table.get(event[0])
                # Held already, with nothing to learn: an object may hold references by the ten
                # thousand.
                is_known = entry is not None and event[3] <= entry.attempt
                if entry is not None and is_known and (event[1] is None or entry.state != PENDING):
                    entry.count += 1
                else:
                    self._born(event, borrows)
                continue
            entry = table.get(event)
            if entry is None:
                continue
            entry.count -= 1
            if entry.count > 0:
                continue
            if event.startswith(mine):
                self._free_if_unused(event, entry)
                continue
            del table[event]
            if not self.is_foreign(event):
                returns.setdefault(owner_of(event), []).append(event)
        _cancel_out(table, borrows, returns)
        if borrows:
            self._send_borrows(borrows)
        for owner, oids in returns.items():
            self.after_borrows(owner, objects.Return(oids, self.me))
        if self._to_free:
            self._send(self._raylet, objects.Free(self._to_free))
            self._to_free = []

    def resolve(
        self,
        oid: ObjectId,
        state: int,
        value: Any,
        size: int = 0,
        inner: list[Any] | None = None,
        attempt: int = 0,
    ) -> None:
        """Set an object's value.

        Args:
            oid: the object.
            state: INLINE, STORED or ERROR.
            value: the bytes; of a stored value, its node.
            size: its bytes in the store.
            inner: the references inside.
            attempt: the attempt of its task that made it.
        """
        entry = self.table.get(oid)
        if entry is None:
            if state == STORED:
                self.note_leftover(oid)
            return
        if attempt > entry.attempt:
            self.supersede([oid], attempt)
        entry.leftover = entry.leftover or entry.state == STORED
        if entry.state == INLINE:
            self._inline.forget(oid)
        entry.value = value
        entry.size = size
        entry.inner = inner
        entry.state = state
        if state == INLINE and len(value) > COUNTED_BYTES and oid.startswith(self._prefix):
            self._inline.note(oid, entry)
        self.changes += 1
        if state != STORED and entry.task is not None:
            entry.leftover = entry.leftover or entry.task.leftover
            entry.task = None
        callbacks = entry.callbacks
        if callbacks is not None:
            entry.callbacks = None
            for callback in callbacks:
                callback()
        if entry.asked:
            self._tell(oid, entry)
        if entry.count <= 0:
            self._free_if_unused(oid, entry)

    def note_leftover(self, oid: ObjectId) -> None:
        """A store holds a result that nobody waits for any more: delete it with its entry."""
        entry = self.table.get(oid)
        if entry is None:
            self._send(self._raylet, objects.Free([oid]))
        elif entry.state != STORED:
            entry.leftover = True

    def supersede(self, oids: Iterable[ObjectId], attempt: int) -> None:
        """From now on nobody is to be given what earlier attempts of the task have stored."""
        told = []
        for oid in oids:
            entry = self.table.get(oid)
            if entry is not None and entry.attempt < attempt:
                entry.attempt = attempt
                # The directory remembers the attempt until the object is freed.
                entry.leftover = True
                entry.view = None
                self.on_new_attempt(oid, attempt)
                told.append(oid)
        if told:
            self._send(self._raylet, objects.NewAttempt(told, attempt))

    def close(self) -> None:
        """This process has left: clear every row, since the garbage collector does not see them."""
        for entry in list(self.table.values()):
            if entry.task is not None:
                entry.task.let_go()
            entry.task = entry.inner = entry.callbacks = entry.on_free = entry.view = None

    def add(self, oid: ObjectId, entry: Entry) -> None:
        """Add a new object of this process."""
        self.table[oid] = entry

    def is_mine(self, oid: ObjectId) -> bool:
        """Whether this process owns the object."""
        if not oid.startswith(self._prefix):
            return False
        # An object's id ends with the nonce, which is the rule; others have it elsewhere.
        return oid.endswith(self._nonce) or not self.is_foreign(oid)

    def after_borrows(self, destination: Address, message: msgspec.Struct) -> None:
        """Send a message once every borrow sent so far is acknowledged (see `protocol.md`)."""
        if self._unacknowledged:
            self._waiting_for_borrows.append((self._token, destination, message))
        else:
            self._send(destination, message)

    def is_settled(self) -> bool:
        """Whether nothing is left to process, and every borrow is acknowledged."""
        return not (self.events or self._to_free or self._unacknowledged)

    def borrows_pending(self) -> bool:
        """Whether a borrow of this process is not acknowledged yet."""
        return bool(self._unacknowledged)

    def holds_others(self) -> bool:
        """Whether other processes hold objects of this one."""
        return bool(self._by_borrower)

    # -- messages --------------------------------------------------------------------------------
    def on_borrow(self, message: objects.Borrow) -> None:
        """Another process has borrowed objects of this one."""
        borrower = message.borrower
        for oid in message.oids:
            self._count_borrower(oid, borrower, +1)
        self.watch(borrower)
        self._send(borrower, objects.Borrowed(message.token))

    def on_return(self, message: objects.Return) -> None:
        """A borrower has returned objects."""
        for oid in message.oids:
            self._count_borrower(oid, message.borrower, -1)

    def on_borrowed(self, message: objects.Borrowed) -> None:
        """An owner has acknowledged a borrow."""
        self._unacknowledged.pop(message.token, None)
        self._let_go()

    def on_ask(self, message: objects.Ask) -> None:
        """The raylet asks, for another process, what became of an object."""
        entry = self.table.get(message.oid)
        if entry is None:
            self._send(self._raylet, objects.Tell(message.oid, objects.FREED))
        elif entry.state == PENDING:
            entry.asked = True
        else:
            self._tell(message.oid, entry)

    def on_copies_lost(self, message: objects.CopiesLost) -> None:
        """No copy of these stored objects is left: reconstruct them, or report them lost."""
        for oid in message.oids:
            entry = self.table.get(oid)
            if entry is None:
                self._send(self._raylet, objects.Tell(oid, objects.FREED))
            elif entry.state == STORED and message.attempt >= entry.attempt:
                self._recover(oid, entry, message.text)

    def on_process_died(self, address: Address) -> None:
        """A process we borrow from, or that borrows from us, has ended."""
        self._watched.discard(address)
        for token in [t for t, owner in self._unacknowledged.items() if owner == address]:
            del self._unacknowledged[token]
        self._let_go()
        for oid in sorted(self._by_borrower.pop(address, ())):
            entry = self.table.get(oid)
            if entry is not None and entry.borrowers:
                entry.borrowers.pop(address, None)
                self._free_if_unused(oid, entry)

    def on_node_gone(self, node: int) -> None:
        """Every process of that node has ended."""
        known = {*self._watched, *self._by_borrower, *self._unacknowledged.values()}
        for address in sorted(known):
            if node_of(address) == node:
                self.on_process_died(address)

    # -- details ---------------------------------------------------------------------------------
    def _born(
        self,
        event: references.Birth,
        borrows: dict[Address, list[ObjectId]],
    ) -> None:
        oid, value, is_error, attempt = event
        entry = self.table.get(oid)
        if attempt:
            self.on_new_attempt(oid, attempt)
        if entry is not None:
            entry.count += 1
            if not self.is_mine(oid):
                entry.attempt = max(entry.attempt, attempt)
            # Held before its value was known here (borrowed as what is inside a result): so a
            # busy owner need not be asked.
            if value is not None and entry.state == PENDING and not self.is_mine(oid):
                self.resolve(oid, ERROR if is_error else INLINE, value)
            return
        entry = self.table[oid] = Entry(attempt=attempt)
        if self.is_foreign(oid):
            error = failures.of_another_cluster(f"Object {oid.hex()}")
            entry.value, entry.state = dump_system_error(error), ERROR
            return
        if self.is_mine(oid):
            entry.value = self._lost(objects.FREED, oid)
            entry.state = ERROR
            return
        if value is not None:
            entry.value = value
            entry.state = ERROR if is_error else INLINE
        borrows.setdefault(owner_of(oid), []).append(oid)

    def _free_if_unused(self, oid: ObjectId, entry: Entry) -> None:
        if entry.count > 0 or entry.borrowers or entry.state == PENDING:
            return
        if self.table.pop(oid, None) is None:
            return
        if entry.state == INLINE and len(entry.value) > COUNTED_BYTES:
            self._inline.forget(oid)
        if entry.state == STORED or (entry.leftover and self.is_mine(oid)):
            self._to_free.append(oid)
        if entry.state == ERROR and self.unread:
            self.unread.freed(oid)
        if entry.on_free is not None:
            entry.on_free()
        entry.inner = entry.task = None

    def _send_borrows(self, borrows: dict[Address, list[ObjectId]]) -> None:
        for owner, oids in borrows.items():
            self._token += 1
            self._unacknowledged[self._token] = owner
            self.watch(owner)
            self._send(owner, objects.Borrow(self._token, oids, self.me))

    def _let_go(self) -> None:
        oldest = next(iter(self._unacknowledged), None)
        waiting = self._waiting_for_borrows
        while waiting and (oldest is None or waiting[0][0] < oldest):
            _, destination, message = waiting.popleft()
            self._send(destination, message)

    def watch(self, address: Address) -> None:
        """Be told when a process ends."""
        if address in self._watched:
            return
        self._watched.add(address)
        self._send(raylet_of(node_of(address)), leases.Watch(address, self.me))

    def _count_borrower(self, oid: ObjectId, borrower: Address, change: int) -> None:
        entry = self.table.get(oid)
        if entry is None:
            return
        if entry.borrowers is None:
            entry.borrowers = {}
        count = entry.borrowers.get(borrower, 0) + change
        if count < 0:
            # Its last messages may arrive after news of its end was handled: we are told again.
            self.watch(borrower)
        if count:
            entry.borrowers[borrower] = count
            self._by_borrower.setdefault(borrower, set()).add(oid)
            return
        entry.borrowers.pop(borrower, None)
        borrowed = self._by_borrower.get(borrower)
        if borrowed is not None:
            borrowed.discard(oid)
            if not borrowed:
                del self._by_borrower[borrower]
        self._free_if_unused(oid, entry)

    def _tell(self, oid: ObjectId, entry: Entry) -> None:
        entry.asked = False
        kind = {INLINE: objects.VALUE, ERROR: objects.ERROR, STORED: objects.STORED}[entry.state]
        value = b"" if entry.state == STORED else entry.value
        if entry.state == ERROR:
            self.unread.read(oid)
        self._send(self._raylet, objects.Tell(oid, kind, value))

    def _recover(self, oid: ObjectId, entry: Entry, why: str = "") -> None:
        entry.asked = True
        entry.state = PENDING
        error = self._make_again(oid, entry)
        if error is not None:
            if why and entry.task is None:
                error = self._lost(objects.LOST, oid, why)
            self.resolve(oid, ERROR, error)


def _cancel_out(
    table: dict[ObjectId, Entry],
    borrows: dict[Address, list[ObjectId]],
    returns: dict[Address, list[ObjectId]],
) -> None:
    """Drop what was borrowed and returned between two calls of `settle`: no message is needed."""
    for owner in [x for x in borrows if x in returns]:
        brief = [oid for oid in borrows[owner] if oid not in table and oid in returns[owner]]
        for oid in brief:
            borrows[owner].remove(oid)
            returns[owner].remove(oid)
        for messages in (borrows, returns):
            if not messages[owner]:
                del messages[owner]


def hold(oids: Iterable[ObjectId]) -> list[references.ObjectRef[Any]]:
    """References that hold these objects for this process."""
    return [references.rebuild(oid, None, False) for oid in oids]
