"""Generators at their owner: items arrive while the task runs, and are taken in order.

Used by `process` (messages) and by `ObjectRefGenerator` (users).  The worker's half is in
`yielding.py`.  Back-pressure: the worker may be a window of items ahead of what was taken.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from rayhpc.runtime import current
from rayhpc.runtime.entries import ERROR, INLINE, STORED, Entry
from rayhpc.runtime.ownership import Ownership
from rayhpc.runtime.references import ObjectRef
from rayhpc.wire.address import Address, ObjectId, sibling
from rayhpc.wire.messages import tasks
from rayhpc.wire.messages.common import Stored

if TYPE_CHECKING:
    import asyncio

    from rayhpc.runtime.pending import Pending
    from rayhpc.runtime.results import Results

Send = Callable[[Address, msgspec.Struct], None]


class Stream:
    """The items of one generator task that its owner has not taken yet."""

    def __init__(self, tid: ObjectId, window: int) -> None:
        self.tid = tid
        self.window = window
        self.items: deque[ObjectRef[Any]] = deque()
        self.received = 0
        self.taken = 0
        self.worker: Address | None = None
        self.total: int | None = None
        self.watchers: list[Callable[[], object]] = []

    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.total is not None and self.received >= self.total

    def news(self) -> None:
        """Tell who waits for an item or the end (leading thread)."""
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher()

    def finish(self, result: tasks.Result) -> None:
        """The task has ended well, after `result.micros`-independent `total` items."""
        count = result.outs[0]
        assert isinstance(count, bytes)
        self.total = msgspec.msgpack.decode(count, type=int)
        self.news()

    def fail(self, error: bytes) -> None:
        """The task has failed: one more item, which raises, and then the end."""
        if self.total is not None:
            return
        process = current.existing()
        if process is None:
            return
        oid = sibling(self.tid, self.received + 1)
        entry = process.ownership.table.get(oid)
        if entry is None:
            process.ownership.add(oid, Entry())
            self.items.append(ObjectRef(oid))
        process.ownership.resolve(oid, ERROR, error)
        self.received += 1
        self.total = self.received
        self.news()


class Streams:
    """All generators whose items come to this process."""

    def __init__(self, ownership: Ownership, results: Results, send: Send) -> None:
        self._ownership = ownership
        self._results = results
        self._send = send
        self._live: dict[ObjectId, Stream] = {}

    def open(self, tid: ObjectId, window: int) -> Stream:
        """A generator task is submitted."""
        stream = self._live[tid] = Stream(tid, window)
        return stream

    def on_item(self, worker: Address, message: tasks.StreamItem) -> None:
        """An item, perhaps one that an earlier run has brought already."""
        stream = self._live.get(message.tid)
        if stream is None:
            self._send(worker, tasks.StreamTaken(message.tid, -1))
            return
        stream.worker = worker
        oid = sibling(message.tid, message.index + 1)
        if message.index == stream.received:
            self._ownership.add(oid, Entry())
            stream.items.append(ObjectRef(oid))
            stream.received += 1
        out = message.out
        inner = self._results.adopt(worker, oid, message.inner) if message.inner else None
        if type(out) is bytes:
            self._ownership.resolve(oid, INLINE, out, inner=inner)
        else:
            assert isinstance(out, Stored)
            self._ownership.resolve(oid, STORED, out.node, out.size, inner)
        if stream.window and message.index < stream.taken:
            self._send(worker, tasks.StreamTaken(message.tid, stream.taken))
        stream.news()

    def took_one(self, stream: Stream) -> None:
        """The user has taken an item (leading thread): the worker may go on."""
        stream.taken += 1
        if stream.window and stream.worker is not None:
            self._send(stream.worker, tasks.StreamTaken(stream.tid, stream.taken))

    def close(self, stream: Stream) -> None:
        """The generator was dropped (leading thread): its worker stops, its items go."""
        self._live.pop(stream.tid, None)
        if stream.worker is not None and not stream.is_over():
            self._send(stream.worker, tasks.StreamTaken(stream.tid, -1))


class ObjectRefGenerator:
    """The references that a generator task yields, as they come.

    Iterate it with `for` or `async for`; each item is an `ObjectRef`.  `completed()` is a
    reference that is ready when the task has ended.
    """

    def __init__(self, stream: Stream, end: ObjectRef[Any], pending: Pending) -> None:
        self._stream = stream
        self._end = end
        self._pending = pending

    def __iter__(self) -> Iterator[ObjectRef[Any]]:
        return self

    def __next__(self) -> ObjectRef[Any]:
        return self._next_sync(None)

    def _next_sync(self, timeout_s: float | None = None) -> ObjectRef[Any]:
        """The next reference; after `timeout_s` seconds without one a nil reference."""
        stream = self._stream
        process = current.process()
        there = process.wait_blocking(lambda: bool(stream.items) or stream.is_over(), timeout_s)
        if not there:
            return ObjectRef(bytes(16))
        return self._take()

    def _take(self) -> ObjectRef[Any]:
        if not self._stream.items:
            raise StopIteration
        ref = self._stream.items.popleft()
        process = current.process()
        with process.lead():
            process.streams.took_one(self._stream)
        return ref

    def __aiter__(self) -> AsyncIterator[ObjectRef[Any]]:
        return self

    async def __anext__(self) -> ObjectRef[Any]:
        import asyncio

        stream = self._stream
        loop = asyncio.get_running_loop()
        while not stream.items and not stream.is_over():
            arrived = loop.create_future()
            self.when_news(functools.partial(loop.call_soon_threadsafe, _wake, arrived))
            await arrived
        try:
            return self._take()
        except StopIteration:
            raise StopAsyncIteration from None

    def when_news(self, callback: Callable[[], object]) -> None:
        """Run `callback` in the leading thread at the next item or the end (at once if there)."""
        process = current.process()
        with process.lead():
            if self._stream.items or self._stream.is_over():
                callback()
            else:
                self._stream.watchers.append(callback)

    def next_ready(self) -> bool:
        """Whether the next item can be taken without waiting."""
        return bool(self._stream.items)

    def is_finished(self) -> bool:
        """Whether the task has ended and every item was taken."""
        return self._stream.is_over() and not self._stream.items

    def completed(self) -> ObjectRef[Any]:
        """A reference that is ready when the generator task has ended."""
        return self._end

    def task_id(self) -> Any:
        """The id of the generator task."""
        return self._end.task_id()

    def close(self) -> None:
        """Stop the task; what was not taken is dropped."""
        _drop(self._stream)

    def __del__(self) -> None:
        _drop(self._stream)

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._end.hex()})"

    def __reduce__(self) -> Any:
        raise TypeError(
            "An ObjectRefGenerator belongs to the process that made it: send the ObjectRefs that "
            "it yields instead, or use num_returns='dynamic'."
        )


class DynamicObjectRefGenerator:
    """The references of a task with num_returns='dynamic': iterable as often as you like."""

    def __init__(self, refs: list[ObjectRef[Any]]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[ObjectRef[Any]]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, index: int) -> ObjectRef[Any]:
        return self._refs[index]


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _drop(stream: Stream) -> None:
    """From a finalizer: only note it."""
    process = current.existing()
    if process is not None:
        process.later(lambda: process.streams.close(stream))
