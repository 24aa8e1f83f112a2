"""Reading generators: taking items, waiting for them, and dropping unwanted ones.

Part of every driver and worker (`client`), used by `api.objects.generators`.  The items themselves
are managed by `owner.streams`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rayhpc.runtime.owner.entries import ERROR
from rayhpc.runtime.owner.streams import Stream
from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.process.loop import Loop
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values.references import ObjectRef


class Generators:
    """The operations of readers.

    Args:
        core: this process's tables.
        loop: what serves them.
        objects: knows how user code waits.
    """

    def __init__(self, core: Core, loop: Loop, objects: Objects) -> None:
        self._core = core
        self._loop = loop
        self._objects = objects

    def next(self, stream: Stream, timeout: float | None) -> ObjectRef[Any]:
        """The next item, once there is one; a nil reference after `timeout` seconds.

        Raises:
            StopIteration: there is none.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with inside:
            while True:
                self._objects.wait(lambda: bool(stream.items) or stream.is_over(), timeout)
                is_over = stream.is_over()
                # Threads may read the same generator: another one may have been faster.
                ref = self.take(stream)
                if ref is not None:
                    return ref
                if is_over:
                    raise StopIteration
                if deadline is not None:
                    timeout = max(0.0, deadline - time.monotonic())
                if timeout == 0 or inside.asked():
                    return ObjectRef.nil()

    def when_news(self, stream: Stream, callback: Callable[[], object]) -> None:
        """Call `callback` in the leading thread at the next item or the end (at once if ready)."""
        with self._loop.lead():
            if stream.items or stream.is_over():
                callback()
            else:
                stream.watchers.append(callback)

    def forget_news(self, stream: Stream, callback: Callable[[], object]) -> None:
        """Undo `when_news`."""
        with self._loop.lead():
            if callback in stream.watchers:
                stream.watchers.remove(callback)

    def take(self, stream: Stream) -> ObjectRef[Any] | None:
        """The next item, if there is one; its worker may then continue.

        Raises:
            RaySystemError: the cluster ended, or this process left it, before the item came.
        """
        core = self._core
        try:
            ref = stream.items.popleft()
        except IndexError:
            return None
        try:
            with self._loop.lead():
                core.streams.took_one(stream)
        except RuntimeError:
            if core.ended is None:
                raise
            raise core.end_error() from None
        entry = core.ownership.table.get(ref.binary())
        # No item to read: whoever reads it would need a cluster to be told that there is none.
        if core.ended is not None and (entry is None or entry.state == ERROR):
            raise core.end_error()
        return ref

    def drop(self, stream: Stream) -> None:
        """No further items are wanted: only recorded here, since finalizers call this."""
        self._core.later(lambda: self._core.streams.close(stream))
