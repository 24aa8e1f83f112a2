"""Futures of references, and callbacks at their end: completed when the value has come, never by a
thread that blocks until it has.

A part of every driver and worker (`client`).  What is awaited is completed on its event loop; what
others hang on results runs in a thread for such (`callbacks`), never in the one that leads.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rayhpc.exceptions import ObjectStoreFullError
from rayhpc.runtime.owner.entries import ERROR, INLINE, Entry
from rayhpc.runtime.process.callbacks import CallbackThread
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values import serialization, stored
from rayhpc.runtime.values.errors import load_error
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.store_client import Box
from rayhpc.wire.messages.objects import FULL, FetchFailed

if TYPE_CHECKING:
    import asyncio

# Gives a value that has come, or raises its error; any thread may call it.
Read = Callable[[], Any]


class Futures:
    """What is to be done when objects are there.

    Args:
        objects: this process's.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._is_leaving = False
        self._thread = CallbackThread()

    def future_of(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        """A future that is completed with the value or error of `ref`."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def finish(read: Read) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(read())
            except BaseException as error:
                future.set_exception(error)

        self._thread.start()
        _Arrival(self._objects, ref, lambda read: self._thread.submit(finish, read)).begin()
        return future

    def awaitable_of(
        self, ref: ObjectRef[Any], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[Any]:
        """A future of an event loop, completed there."""
        future: asyncio.Future[Any] = loop.create_future()

        def finish(read: Read) -> None:
            if future.done():  # cancelled
                return
            try:
                future.set_result(read())
            except StopIteration as error:  # which no future takes
                future.set_exception(RuntimeError(f"a task raised {error!r}"))
            except BaseException as error:
                future.set_exception(error)

        def hand_over(read: Read) -> None:
            try:
                loop.call_soon_threadsafe(finish, read)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        _Arrival(self._objects, ref, hand_over).begin()
        return future

    def when_done(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """Run `callback`, in a thread for such, once the object is there or has failed; not at all
        if the process leaves the cluster before.
        """

        def hand_over() -> None:
            # In the leading thread: user code and further submissions belong elsewhere.
            if not self._is_leaving:
                self._thread.submit(callback)

        self._thread.start()
        self._objects.when_ready(ref, hand_over)

    def leave(self) -> None:
        """The process leaves the cluster."""
        self._is_leaving = True

    def close(self) -> None:
        """It has left: run what was given until now, and nothing more."""
        self._thread.close()


class _Arrival(Box):
    """A value on its way to this node, whatever becomes of it: `then` gets what reads it.

    Args:
        objects: this process's.
        ref: the reference, kept until the value is there.
        then: called once, in the leading thread; must not wait, nor read the value.
    """

    __slots__ = ("_entry", "_objects", "_ref", "_then")

    def __init__(
        self, objects: Objects, ref: ObjectRef[Any], then: Callable[[Read], object]
    ) -> None:
        super().__init__()
        self._objects = objects
        self._ref = ref
        self._then = then
        self._entry: Entry = objects.entry_of(ref)

    def begin(self) -> None:
        """Wait for it (any thread)."""
        self._objects.when_ready(self._ref, self._go_on)

    def fill(self, value: Any) -> None:
        """A copy has come to this node, or cannot (leading thread)."""
        self._objects.core.unfinished.pop(self, None)
        if not isinstance(value, FetchFailed):
            self._then(lambda: stored.read(value))
        elif value.kind == FULL:
            text = value.text
            self._then(lambda: _raise(ObjectStoreFullError(text)))
        else:
            # What became of it is in its row, now or once it has been made again.
            self._entry.when_ready(self._go_on)

    def end(self) -> None:
        """The cluster has ended before (leading thread)."""
        error = self._objects.core.end_error()
        self._then(lambda: _raise(error))

    def _go_on(self) -> None:
        """It is there, somewhere, or has failed (leading thread)."""
        entry, core = self._entry, self._objects.core
        value = entry.value
        if entry.state == INLINE:
            self._then(lambda: serialization.from_inline(value))
        elif entry.state == ERROR:
            self._then(lambda: _raise(load_error(value)))
        else:
            oid = self._ref.binary()
            view = core.store.view(oid)
            if view is not None:
                self.fill(view)
                return
            core.unfinished[self] = None
            core.store.fetch([oid], [self])


def _raise(error: BaseException) -> Any:
    raise error
