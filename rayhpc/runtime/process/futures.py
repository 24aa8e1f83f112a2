"""Futures of references, and completion callbacks: completed when the value arrives, never by a
thread that blocks for it.

Part of every driver and worker (`client`).  An awaited value is completed on its event loop; other
callbacks run in a thread for this purpose (`callbacks`), never in the leading thread.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rayhpc.exceptions import ObjectStoreFullError
from rayhpc.runtime.owner.entries import ERROR, INLINE, Entry
from rayhpc.runtime.process.callbacks import CallbackThread
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.process.unhandled import Unhandled
from rayhpc.runtime.values import serialization, stored
from rayhpc.runtime.values.errors import load_error
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.store_client import Promise
from rayhpc.wire.messages.objects import FULL, FetchFailed

if TYPE_CHECKING:
    import asyncio

# Returns a value that has arrived, or raises its error; any thread may call it.
Read = Callable[[], Any]


class Futures:
    """Actions to run once objects are ready.

    Args:
        objects: this process's objects.

    Attributes:
        unhandled: shows errors that nobody has looked at.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._is_leaving = False
        self._at_exit = False
        self._thread = CallbackThread()
        self.unhandled = Unhandled(self._thread)

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

        def hand_over(read: Read) -> None:
            if not self._says_nothing():
                self._thread.submit(finish, read)

        self._thread.start()
        _Arrival(self._objects, ref, hand_over).begin()
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
            except StopIteration as error:  # which no future accepts
                future.set_exception(RuntimeError(f"a task raised {error!r}"))
            except BaseException as error:
                future.set_exception(error)

        def hand_over(read: Read) -> None:
            if self._says_nothing():
                return
            try:
                loop.call_soon_threadsafe(finish, read)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        _Arrival(self._objects, ref, hand_over).begin()
        return future

    def when_done(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """Run `callback`, in the callback thread, once the object is ready or has failed; not at
        all if the process leaves the cluster first.
        """

        def hand_over() -> None:
            # Runs in the leading thread, where user code and further submissions must not run.
            if not self._is_leaving:
                self._thread.submit(callback)

        self._thread.start()
        self._objects.when_ready(ref, hand_over)

    def leave(self, at_exit: bool) -> None:
        """The process is leaving the cluster, perhaps since the interpreter exits."""
        self._is_leaving = True
        self._at_exit = at_exit

    def _says_nothing(self) -> bool:
        """Whether what has not arrived is dropped: at exit no thread waits for it any more."""
        return self._at_exit and self._objects.core.ended is not None

    def close(self) -> None:
        """It has left: run what was submitted so far, and nothing more."""
        self._thread.close()


class _Arrival(Promise):
    """A value being brought to this node; whatever happens, `then` gets a function that reads it.

    Args:
        objects: this process's objects.
        ref: the reference, kept until the value has arrived.
        then: called once, in the leading thread; must neither wait nor read the value.
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
        """A copy has arrived on this node, or cannot (leading thread)."""
        self._objects.core.unfinished.pop(self, None)
        if not isinstance(value, FetchFailed):
            self._then(lambda: stored.read(value))
        elif value.kind == FULL:
            text = value.text
            self._then(lambda: _raise(ObjectStoreFullError(text)))
        else:
            # Its entry says what became of it, now or after reconstruction.
            self._entry.when_ready(self._go_on)

    def end(self) -> None:
        """The cluster ended first (leading thread)."""
        error = self._objects.core.end_error()
        self._then(lambda: _raise(error))

    def _go_on(self) -> None:
        """It is ready somewhere, or has failed (leading thread)."""
        entry, core = self._entry, self._objects.core
        value = entry.value
        if entry.state == INLINE:
            self._then(lambda: serialization.from_inline(value))
        elif entry.state == ERROR:
            core.ownership.unread.read(self._ref.binary())
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
