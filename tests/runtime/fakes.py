"""A submitter with a clock that stands still and a transport that only notes."""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.definitions import Definition
from rayhpc.runtime.owner.entries import ERROR, INLINE, Entry
from rayhpc.runtime.owner.inline_values import InlineValues
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.results import Results
from rayhpc.runtime.owner.submission import Submitter
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.errors import load_error
from rayhpc.runtime.values.store_client import StoreClient
from rayhpc.wire.address import NONCE_BYTES, make_address, make_object_id, raylet_of
from rayhpc.wire.messages import leases, tasks
from rayhpc.wire.messages.common import Grant, SchedulingClass

ME = make_address(1, 1)
CLASS = SchedulingClass({"CPU": 10_000})
DEFINITION = Definition(b"f", b"code", [])


def no_values(send: Any) -> InlineValues:
    """Counts small values; no store has room for them."""
    mapping: Any = None
    return InlineValues(StoreClient(mapping, raylet_of(1), send), 1, send)


class Side:
    """One submitting process; `sent` is what it has sent, as (destination, message)."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, msgspec.Struct]] = []
        self.now = 10.0
        self.warnings: list[str] = []
        self.inline = no_values(self._send)
        self.ownership = Ownership(
            ME, bytes(NONCE_BYTES), self._send, self.inline, self._again, failures.lost
        )
        self.results = Results(self.ownership, self._send, self.inline)
        self.submitter = Submitter(
            ME, self.ownership, self.results, self._send, lambda: self.now, self.warnings.append
        )
        self._number = 0

    def _send(self, destination: int, message: msgspec.Struct) -> None:
        self.sent.append((destination, message))

    def _again(self, oid: bytes, entry: Entry) -> bytes | None:
        return self.submitter.make_again(oid, entry.task)

    def submit(self, count: int = 1, retries: int = 0) -> list[Pending]:
        """Submit tasks of one class."""
        found = []
        for _ in range(count):
            self._number += 1
            tid = make_object_id(ME, self._number)
            pending = Pending(tid, b"", DEFINITION, 1, retries, "f")
            pending.queue = self.submitter.queue_for(CLASS)
            self.ownership.table[tid] = Entry(pending)
            self.submitter.inbox.append(pending)
            found.append(pending)
        self.submitter.advance()
        return found

    def take(self, kind: type[Any]) -> list[Any]:
        """The messages of a kind that were sent since the last look, in order."""
        found = [m for _, m in self.sent if isinstance(m, kind)]
        self.sent = [x for x in self.sent if not isinstance(x[1], kind)]
        return found

    def grant(self, request: int, worker: int, lease: int) -> None:
        """A raylet grants a worker."""
        message = leases.LeaseGranted(request, worker, Grant(lease, 1, CLASS.resources))
        self.submitter.on_granted(message)
        self.submitter.advance()

    def finish(self, worker: int, *tids: bytes, micros: int = 50) -> None:
        """A worker answers tasks with 1."""
        value = serialization.to_inline(serialization.serialize(1))
        self.submitter.on_done(worker, [tasks.Result(t, tasks.OK, [value], micros) for t in tids])
        self.submitter.advance()

    def lose_patience(self) -> None:
        """Let the time pass in which work is kept back for leases that may still come."""
        self.now += 1.0
        self.submitter.on_time()

    def outcome(self, pending: Pending) -> Any:
        """The value or exception a task has come to; None: nothing yet."""
        entry = self.ownership.table[pending.tid]
        if entry.state == INLINE:
            return serialization.from_inline(entry.value)
        return load_error(entry.value) if entry.state == ERROR else None
