"""Takes in results: fills the reference table, borrows inner references, records failures.

Used by `submission` (tasks) and `calls` (actors), in the leading thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED
from rayhpc.runtime.owner.inline_values import InlineValues
from rayhpc.runtime.owner.ownership import Ownership, hold
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.values import dynamic_results, serialization
from rayhpc.runtime.values.errors import is_task_error
from rayhpc.runtime.values.serialization import COUNTED_BYTES
from rayhpc.wire.address import Address, ObjectId, sibling
from rayhpc.wire.messages import tasks
from rayhpc.wire.messages.common import Stored

# How many failures an owner remembers for the state listings.
_FAILURES_KEPT = 1000
Send = Callable[[Address, msgspec.Struct], None]

# What `completed()` of a generator refers to.
_NOTHING = serialization.to_inline(serialization.serialize(None))


class Failure(NamedTuple):
    """A task or call that has failed for good, as the state listings show it."""

    tid: ObjectId
    attempt: int
    name: str
    parent: bytes
    submitted: float
    actor: bytes
    error: bytes
    worker: Address
    function: str


class Results:
    """Turns results into entries of the reference table.

    Args:
        ownership: the table.
        send: puts a message on its way.
        inline: counts the arguments of what has not ended.
    """

    def __init__(self, ownership: Ownership, send: Send, inline: InlineValues) -> None:
        self._ownership = ownership
        self._send = send
        self._inline = inline
        # Counts errors, so that a `get` of many objects notices the first (see `Process.get`).
        self.failures = 0
        self.latest_failures: deque[Failure] = deque(maxlen=_FAILURES_KEPT)
        # Tasks that have ended while their worker still borrows references of their arguments.
        self._borrowing: dict[ObjectId, tuple[Address, Pending]] = {}

    def enter(self, pending: Pending) -> None:
        """Register a task or call that waits or runs, with its arguments."""
        if pending.size > COUNTED_BYTES and not pending.counted:
            pending.counted = pending.size
            self._inline.count(pending.size)

    def _leave(self, pending: Pending) -> None:
        """Unregister one that has ended."""
        if pending.counted:
            self._inline.count(-pending.counted)
            pending.counted = 0

    def take(self, worker: Address, pending: Pending, result: tasks.Result) -> bool:
        """Record a result; False: the task failed in a way that allows a retry."""
        if result.status == tasks.OK:
            if pending.counted:
                self._leave(pending)
            self._succeed(worker, pending, result)
        elif result.status == tasks.CANCELLED:
            pending.leftover = True
            interrupted = result.outs[0]
            assert isinstance(interrupted, bytes)
            self.fail(pending, interrupted or failures.cancelled(pending))
        elif result.retry and pending.retries != 0 and not pending.cancelled:
            pending.retries -= pending.retries > 0
            if len(result.outs) > 1 and pending.stream is None:
                # Results of an earlier attempt are dropped, or replaced by this attempt's.
                pending.leftover = True
                self.discard(worker, [tasks.Result(result.tid, tasks.OK, [], inner=result.inner)])
            return False
        else:
            error = result.outs[-1]
            assert isinstance(error, bytes)
            if len(result.outs) > 1 and pending.stream is None:
                self._take_first(worker, pending, result)
            # Some of its results may have been stored before it failed.
            pending.leftover = pending.leftover or pending.returns != 1
            self.fail(pending, error, raised=True)
        if result.borrowing:
            self._borrowing[pending.tid] = worker, pending
            self._ownership.watch(worker)
        elif pending.returns > 1 or pending.keep is not None:
            self._let_go(pending)
        return True

    def begin_again(self, pending: Pending) -> None:
        """A task or call is about to run again."""
        pending.attempt += 1
        if pending.leftover:
            self._supersede(pending, pending.attempt)

    def _supersede(self, pending: Pending, attempt: int) -> None:
        """What attempts before this one have stored without saying so counts no longer."""
        table = self._ownership.table
        ids = _all_ids(pending)
        # Where only some of the results were lost, the others are still there.
        waiting = [x for x in ids if (entry := table.get(x)) is not None and entry.state == PENDING]
        self._ownership.supersede(waiting, attempt)

    def fail(
        self, pending: Pending, error: bytes, raised: bool = False, worker: Address = 0
    ) -> None:
        """Set every result of a task to this error.

        Args:
            pending: the task or call.
            error: the pickled error.
            raised: whether the user's code raised it.
            worker: the process whose death caused it; 0: none.
        """
        self.failures += 1
        self._remember(pending, error, worker)
        self._leave(pending)
        is_users = worker or is_task_error(error)
        if is_users and not (pending.cancelled or pending.awaited):
            self._ownership.unread.note(pending.tid, pending.name, error)
        # What raised has reported all that it had stored before.
        attempt = pending.attempt + (not raised)
        if pending.leftover:
            self._supersede(pending, attempt)
        if pending.stream is not None:
            pending.stream.fail(error, attempt)
        if raised and pending.stream is not None and not self._is_without_items(pending):
            # The error is the last item; the generator itself has ended normally.
            self._resolve_end(pending)
        else:
            if pending.stream is not None and pending.returns == tasks.DYNAMIC:
                pending.stream.take_all()  # there is no value to hold them
            table = self._ownership.table
            for oid in _all_ids(pending):
                entry = table.get(oid)
                # Where only some of the results were lost, the others are still there.
                if entry is not None and entry.state == PENDING:
                    self._ownership.resolve(oid, ERROR, error)
        self._let_go(pending)

    def _remember(self, pending: Pending, error: bytes, worker: Address) -> None:
        if pending.is_unlisted():
            return
        actor = b"" if pending.target is None else pending.target.actor
        self.latest_failures.append(
            Failure(
                pending.tid,
                pending.attempt,
                pending.name,
                pending.parent,
                pending.submitted,
                actor,
                error,
                worker,
                pending.function(),
            )
        )

    def _is_without_items(self, pending: Pending) -> bool:
        """Whether a task with num_returns="dynamic" has failed before its first item."""
        assert pending.stream is not None
        # The error counts as one.
        return pending.returns == tasks.DYNAMIC and len(pending.stream.item_ids()) == 1

    def _resolve_end(self, pending: Pending) -> None:
        """Resolve the reference to a generator's end: to None, or to all it has yielded."""
        if pending.returns == tasks.STREAMING:
            self._ownership.resolve(pending.tid, INLINE, _NOTHING)
            return
        entry = self._ownership.table.get(pending.tid)
        # Otherwise it has run again, for lost items.
        if entry is not None and entry.state == PENDING:
            assert pending.stream is not None
            items: list[Any] = pending.stream.take_all()
            made = dynamic_results.pickled([x.binary() for x in items])
            self._ownership.resolve(pending.tid, INLINE, made, inner=items)

    def on_release(self, message: tasks.Release) -> None:
        """A worker has borrowed the references it keeps from these tasks' arguments."""
        for tid in message.tids:
            _, pending = self._borrowing.pop(tid, (0, None))
            if pending is not None:
                self._let_go(pending)

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Workers have ended, and so have their borrows."""
        gone = [tid for tid, (worker, _) in self._borrowing.items() if is_gone(worker)]
        self.on_release(tasks.Release(gone))

    def discard(self, worker: Address, results: Iterable[tasks.Result]) -> None:
        """Drop results that nobody waits for, in the stores and at the worker."""
        for result in results:
            # Items of generators have been handled before this.
            outs = result.outs if result.status == tasks.OK else result.outs[:-1]
            for i, out in enumerate(outs):
                if isinstance(out, Stored):
                    self._ownership.note_leftover(sibling(result.tid, i))
            if any(result.inner):
                self._send(worker, tasks.Adopted([result.tid]))

    def adopt(self, worker: Address, tid: ObjectId, inner: list[ObjectId]) -> list[Any]:
        """Borrow the references inside a result, and tell the worker once that is acknowledged."""
        return self._adopt_all(worker, tid, [inner])[0]

    def _adopt_all(
        self, worker: Address, tid: ObjectId, inner: list[list[ObjectId]]
    ) -> list[list[Any]]:
        """`adopt` for several results: the worker lets go of all of them together."""
        refs = [hold(oids) for oids in inner]
        self._ownership.settle()
        self._ownership.after_borrows(worker, tasks.Adopted([tid]))
        return refs

    def _succeed(self, worker: Address, pending: Pending, result: tasks.Result) -> None:
        resolve = self._ownership.resolve
        outs = result.outs
        if pending.stream is not None:
            pending.stream.finish(result)
            self._resolve_end(pending)
            return
        if len(outs) == 1 and not result.inner:
            out = outs[0]
            if type(out) is bytes:
                resolve(pending.tid, INLINE, out, attempt=pending.attempt)
            else:
                self._stored(pending.tid, out, pending.attempt)
            return
        inner: list[Any] = []
        if any(result.inner):
            inner = [x or None for x in self._adopt_all(worker, pending.tid, result.inner)]
        inner += [None] * (len(outs) - len(inner))
        oids = pending.result_ids()
        for i, oid in enumerate(oids):
            self._resolve(oid, outs[i], pending.attempt, inner[i])

    def _take_first(self, worker: Address, pending: Pending, result: tasks.Result) -> None:
        """Keep the results that a task produced before it failed."""
        inner = self._adopt_all(worker, pending.tid, result.inner) if result.inner else []
        for i, out in enumerate(result.outs[:-1]):
            kept = (inner[i] or None) if i < len(inner) else None
            self._resolve(sibling(pending.tid, i), out, pending.attempt, kept)

    def _resolve(
        self, oid: ObjectId, out: bytes | Stored, attempt: int, inner: list[Any] | None
    ) -> None:
        if isinstance(out, bytes):
            self._ownership.resolve(oid, INLINE, out, inner=inner, attempt=attempt)
        else:
            self._stored(oid, out, attempt, inner)

    def _stored(
        self, oid: ObjectId, out: Any, attempt: int, inner: list[Any] | None = None
    ) -> None:
        self._ownership.resolve(oid, STORED, out.node, out.size, inner, attempt)

    def _let_go(self, pending: Pending) -> None:
        """Drop the arguments' references, unless the task may have to run again (lineage)."""
        if pending.retries != 0 and self._has_stored(pending):
            if pending.target is not None and pending.keep:
                # A result keeps its lineage, but does not keep its actor alive.
                actor = pending.target.actor
                pending.keep = [ref for ref in pending.keep if ref.binary() != actor] or None
            return
        pending.keep = pending.deps = None

    def _has_stored(self, pending: Pending) -> bool:
        """Whether a store holds a result that somebody refers to."""
        table = self._ownership.table
        # One result is the rule, and this is a part of every call.
        for oid in (pending.tid,) if pending.returns == 1 else _all_ids(pending):
            entry = table.get(oid)
            if entry is not None and entry.state == STORED:
                return True
        return False


def _all_ids(pending: Pending) -> list[ObjectId]:
    """The ids of all results, including those known only since the task ran."""
    found = pending.result_ids()
    if pending.stream is not None:
        found += pending.stream.item_ids()
    return found
