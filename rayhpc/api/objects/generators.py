"""`ObjectRefGenerator`: what the caller of a generator task gets.

Created by `tasks.submitting`.  The items belong to `runtime.owner.streams`, reading them to
`runtime.process.generators`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from rayhpc.runtime.owner.streams import Stream
from rayhpc.runtime.process import current
from rayhpc.runtime.process.generators import Generators
from rayhpc.runtime.values.ids import TaskID
from rayhpc.runtime.values.references import ObjectRef

if TYPE_CHECKING:
    import asyncio


class ObjectRefGenerator:
    """The references that a generator task yields, as they arrive.

    Iterate with `for` or `async for`; each item is an `ObjectRef`.  `completed()` is a reference
    that becomes ready when the task has ended.
    """

    def __init__(self, stream: Stream, end: ObjectRef[Any]) -> None:
        self._stream = stream
        self._end = end

    @property
    def _generator_ref(self) -> ObjectRef[Any]:
        return self._end

    def __iter__(self) -> Iterator[ObjectRef[Any]]:
        return self

    def __next__(self) -> ObjectRef[Any]:
        return self._next_sync(None)

    def _next_sync(self, timeout_s: float | None = None) -> ObjectRef[Any]:
        """The next reference, or a nil reference after `timeout_s` seconds without one."""
        return self._readers().next(self._stream, timeout_s)

    def __aiter__(self) -> AsyncIterator[ObjectRef[Any]]:
        return self

    async def __anext__(self) -> ObjectRef[Any]:
        import asyncio

        stream, readers = self._stream, self._readers()
        loop = asyncio.get_running_loop()
        while True:
            ref = readers.take(stream)
            if ref is not None:
                return ref
            if stream.is_over() and not stream.items:
                raise StopAsyncIteration
            arrived = loop.create_future()
            self.when_news(functools.partial(loop.call_soon_threadsafe, _wake, arrived))
            await arrived

    def when_news(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the leading thread at the next item or the end (at once if ready)."""
        self._readers().when_news(self._stream, callback)

    def forget_news(self, callback: Callable[[], object]) -> None:
        """Undo `when_news`."""
        current.client().generators.forget_news(self._stream, callback)

    def _readers(self) -> Generators:
        self.refuse_foreign()
        return current.client().generators

    def refuse_foreign(self) -> None:
        """Reject a generator of a cluster that this program has left.

        Raises:
            RaySystemError: it is from another cluster.
        """
        current.client().refuse_foreign(self._stream.tid, repr(self))

    def next_ready(self) -> bool:
        """Whether the next item can be taken without waiting."""
        return bool(self._stream.items)

    def is_finished(self) -> bool:
        """Whether the task has ended and every item has been taken."""
        return self._stream.is_over() and not self._stream.items

    def completed(self) -> ObjectRef[Any]:
        """A reference that becomes ready when the generator task has ended."""
        return self._end

    def task_id(self) -> TaskID:
        """The id of the generator task."""
        return self._end.task_id()

    def close(self) -> None:
        """Cancel the task and drop the items not yet taken.

        If a generator is merely dropped, its task runs on to the end.
        """
        client = current.existing()
        if client is not None and not self._stream.is_over():
            client.cancel(self._end, False, True)
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


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _drop(stream: Stream) -> None:
    """Called by a finalizer: only records it."""
    client = current.existing()
    if client is not None:
        client.generators.drop(stream)
