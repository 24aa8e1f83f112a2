"""Reading generators: taking items, waiting for them, and dropping unwanted ones.

Part of every driver and worker (`client`), used by `api.objects.generators`.  The items themselves
are managed by `owner.streams`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rayhpc.runtime.owner.streams import Stream
from rayhpc.runtime.process.core import Core
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

    def wait(self, stream: Stream, timeout: float | None) -> bool:
        """Wait for an item or the end; False after `timeout` seconds."""
        return self._objects.wait(lambda: bool(stream.items) or stream.is_over(), timeout)

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
        """The next item, if there is one; its worker may then continue."""
        if not stream.items:
            return None
        ref = stream.items.popleft()
        with self._loop.lead():
            self._core.streams.took_one(stream)
        return ref

    def drop(self, stream: Stream) -> None:
        """No further items are wanted: only recorded here, since finalizers call this."""
        self._core.later(lambda: self._core.streams.close(stream))
