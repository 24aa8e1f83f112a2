"""Generators at their owner: items arrive while the task runs, and are taken in order.

Used by `core` (messages) and by `ObjectRefGenerator` (users).  The worker's half is in
`worker.generators`.  Back-pressure: the worker is at most a window of items ahead of the reader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.results import Results
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import Address, ObjectId, sibling
from rayhpc.wire.messages import objects, tasks
from rayhpc.wire.messages.common import Stored

Send = Callable[[Address, msgspec.Struct], None]


class Stream:
    """The items of one generator task that its owner has not taken yet.

    If items are lost the task may run again; only the lost items are then accepted.

    Args:
        tid: the task.
        window: how many items may wait to be taken; 0: any number.
        ownership: the table.
        live: the generators that are still expected to yield.
        makers: the tasks that can produce items again, by id.
    """

    def __init__(
        self,
        tid: ObjectId,
        window: int,
        ownership: Ownership,
        live: dict[ObjectId, Stream],
        makers: dict[ObjectId, Pending],
    ) -> None:
        self._ownership = ownership
        self._live = live
        self._makers = makers
        self.tid = tid
        self.window = window
        self.items: deque[ObjectRef[Any]] = deque()
        self.received = 0
        self.taken = 0
        self.worker: Address | None = None
        self.total: int | None = None
        self.watchers: list[Callable[[], object]] = []
        # Whether it runs again only for lost items.
        self._is_repeated = False

    def is_over(self) -> bool:
        """Whether no more items will arrive."""
        return self.total is not None and self.received >= self.total

    def reopen(self) -> None:
        """The task runs again, for lost items (leading thread)."""
        if self.tid not in self._live:
            self._live[self.tid] = self
            self._is_repeated = True

    def news(self) -> None:
        """Wake whoever waits for an item or the end (leading thread)."""
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher()

    def lacks(self, result: tasks.Result) -> bool:
        """Whether items of a task that ended with this result have not arrived."""
        is_counted = len(result.outs) == (1 if result.status == tasks.OK else 2)
        return is_counted and self.received < _count(result)

    def finish(self, result: tasks.Result) -> None:
        """The task has ended normally; its result states the number of items."""
        count = _count(result)
        if self.total is None:
            self.total = count
        else:
            self._fail_missing(None)
        self._over()

    def fail(self, error: bytes, attempt: int) -> None:
        """The task has failed: add a last item that raises.

        Args:
            error: the pickled error.
            attempt: what attempts before this one have stored does not count.
        """
        if self.total is not None:
            self._fail_missing(error)
            self._over()
            return
        oid = sibling(self.tid, self.received + 1)
        if self._ownership.table.get(oid) is None:
            self._ownership.add(oid, Entry())
            self.items.append(ObjectRef(oid, True))
        self._ownership.resolve(oid, ERROR, error, attempt=attempt)
        self.received += 1
        self.total = self.received
        self._over()

    def item_ids(self) -> list[ObjectId]:
        """The ids of the items received so far."""
        return [sibling(self.tid, i) for i in range(1, self.received + 1)]

    def take_all(self) -> list[ObjectRef[Any]]:
        """Hand over the items that nobody has taken, after the end."""
        # An earlier run may have yielded more.
        found = list(self.items)[: self.total]
        self.leave()
        return found

    def leave(self) -> None:
        """Expect no more items, and drop those that were not taken."""
        self._live.pop(self.tid, None)
        self._makers.pop(self.tid, None)
        # The items' lineage leads back here: they would keep each other alive.
        self.items.clear()

    def _fail_missing(self, error: bytes | None) -> None:
        """Fail lost items that were not produced again: for `error`, or too few were yielded."""
        text = "its generator, run again after a node was lost, yielded fewer items"
        for oid in self.item_ids():
            entry = self._ownership.table.get(oid)
            if entry is not None and entry.state == PENDING:
                reason = error or failures.lost(objects.LOST, oid, text)
                self._ownership.resolve(oid, ERROR, reason)

    def _over(self) -> None:
        self.news()
        if self._is_repeated:
            self._live.pop(self.tid, None)


class Streams:
    """All generators whose items this process receives."""

    def __init__(self, ownership: Ownership, results: Results, send: Send) -> None:
        self._ownership = ownership
        self._results = results
        self._send = send
        self._live: dict[ObjectId, Stream] = {}
        self._makers: dict[ObjectId, Pending] = {}

    def open(self, tid: ObjectId, window: int, pending: Pending | None = None) -> Stream:
        """Register a submitted generator task; `pending` can produce its items again."""
        stream = self._live[tid] = Stream(tid, window, self._ownership, self._live, self._makers)
        if pending is not None:
            self._makers[tid] = pending
        return stream

    def makers(self) -> list[Pending]:
        """The tasks that can produce kept items again."""
        return list(self._makers.values())

    def on_item(self, worker: Address, message: tasks.StreamItem) -> None:
        """Take in an item, perhaps one that an earlier run has delivered already."""
        stream = self._live.get(message.tid)
        attempt, oid = message.attempt, sibling(message.tid, message.index + 1)
        known = self._ownership.table.get(oid)
        is_late = known is not None and attempt < known.attempt
        if stream is not None and stream.total is not None:
            is_late = is_late or message.index >= stream.total
        if stream is None or is_late:
            self._send(worker, tasks.StreamTaken(message.tid, -1))
            result = tasks.Result(oid, tasks.OK, [message.out], inner=[message.inner])
            self._results.discard(worker, [result])
            return
        stream.worker = worker
        if message.index == stream.received:
            self._ownership.add(oid, Entry(self._makers.get(message.tid)))
            stream.items.append(ObjectRef(oid, True))
            stream.received += 1
        out = message.out
        inner = self._results.adopt(worker, oid, message.inner) if message.inner else None
        if type(out) is bytes:
            self._ownership.resolve(oid, INLINE, out, inner=inner, attempt=attempt)
        else:
            assert isinstance(out, Stored)
            self._ownership.resolve(oid, STORED, out.node, out.size, inner, attempt)
        if stream.window and message.index < stream.taken:
            self._send(worker, tasks.StreamTaken(message.tid, stream.taken))
        stream.news()

    def took_one(self, stream: Stream) -> None:
        """The user has taken an item (leading thread): the worker may go on."""
        stream.taken += 1
        if stream.window and stream.worker is not None:
            self._send(stream.worker, tasks.StreamTaken(stream.tid, stream.taken))

    def close(self, stream: Stream) -> None:
        """The generator was dropped (leading thread): discard its items, now and as they arrive."""
        if self._ownership.is_foreign(stream.tid):
            return
        stream.leave()
        if stream.worker is not None and not stream.is_over():
            self._send(stream.worker, tasks.StreamTaken(stream.tid, -1))


def _count(result: tasks.Result) -> int:
    """How many items a generator has yielded before it ended, or raised."""
    out = result.outs[0]
    assert isinstance(out, bytes)
    return msgspec.msgpack.decode(out, type=int)
