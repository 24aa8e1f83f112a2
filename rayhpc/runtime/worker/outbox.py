"""Results on their way out of a worker: batched briefly, and in the journal until they are sent.

Used by `replies`.  The main thread adds, whichever thread leads sends: no lock is needed.  What is
in the slot's journal when the process dies counts as answered (`docs/explanation/protocol.md`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from rayhpc.runtime.worker.output import flush_begun_lines
from rayhpc.wire import limits
from rayhpc.wire.address import Address
from rayhpc.wire.messages import tasks

REPLY_WITHIN_S = 0.0005
# Sent results stay in the journal this long: a process that is killed may lose what its I/O thread
# has not written yet.
SENT_SURELY_S = 0.002
# A receiver of a result sent within this time may not have read it yet.
LATELY_S = 1.0
_encode_result = msgspec.msgpack.Encoder().encode


class Journal(Protocol):
    """Where the raylet finds results after this process's death (`wire.slots.Slot`)."""

    def journal_append(self, result: bytes) -> bool: ...

    def journal_clear(self) -> None: ...


class Outbox:
    """The results that have not been sent.

    Args:
        journal: records them until they are sent.
        send: sends a message.
        now: the time in seconds, monotonic.

    Attributes:
        is_held_up: what was sent may be waiting for room in its receiver's window.
    """

    def __init__(
        self,
        journal: Journal,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slot = journal
        self._send = send
        self._now = now
        # The receiver, the result, and its size.
        self._waiting: deque[tuple[Address, tasks.Result, int]] = deque()
        self._oldest = 0.0
        self.is_held_up = False
        # When the last batch was sent; 0: the journal contains nothing that was.
        self._sent = 0.0
        # The receivers of results since `_since`, and in the `LATELY_S` before that.
        self._since = 0.0
        self._receivers: set[Address] = set()
        self._earlier: set[Address] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, submitter: Address, result: tasks.Result) -> bool:
        """Queue a result (main thread); False: it is not in the journal and must not wait."""
        is_first = not self._waiting
        if is_first:
            self._oldest = self._now()
            is_sent = self._sent and not self.is_held_up
            if is_sent and self._oldest - self._sent > SENT_SURELY_S:
                self._clear()
        encoded = _encode_result(result)
        kept = self._slot.journal_append(encoded)
        if not kept and is_first and self._sent and not self.is_held_up:
            self._clear()
            kept = self._slot.journal_append(encoded)
        self._waiting.append((submitter, result, len(encoded)))
        return kept

    def is_old(self) -> bool:
        """Whether the oldest result has waited long enough."""
        return self._now() - self._oldest > REPLY_WITHIN_S

    def note_full_windows(self, waiting_bytes: int) -> None:
        """Whether sent results may still be waiting for room (leading thread, each turn)."""
        if waiting_bytes or self.is_held_up:
            self.is_held_up = waiting_bytes > 0
            self._sent = self._now()

    def send(self) -> None:
        """Send everything (leading thread)."""
        # Whoever has a result also has, or soon gets, what was printed before it.
        flush_begun_lines()
        waiting = self._waiting
        by_submitter: dict[Address, list[tasks.Result]] = {}
        total = 0
        while waiting:
            submitter, result, size = waiting.popleft()
            total += size
            if total > limits.BATCH_BYTES and by_submitter:
                self._send_all(by_submitter)
                by_submitter, total = {}, size
            by_submitter.setdefault(submitter, []).append(result)
        self._send_all(by_submitter)
        self._sent = now = self._now()
        if now - self._since > LATELY_S:
            self._earlier = self._receivers if now - self._since <= 2 * LATELY_S else set()
            self._receivers, self._since = set(), now
        self._receivers.update(by_submitter)

    def latest_receivers(self) -> set[Address]:
        """The receivers of recent results (leading thread)."""
        age = self._now() - self._since
        if age > 2 * LATELY_S:
            return set()
        return self._receivers | self._earlier if age <= LATELY_S else self._receivers

    def _send_all(self, by_submitter: dict[Address, list[tasks.Result]]) -> None:
        for submitter, results in by_submitter.items():
            self._send(submitter, tasks.Done(results))

    def _clear(self) -> None:
        self._sent = 0.0
        self._slot.journal_clear()
