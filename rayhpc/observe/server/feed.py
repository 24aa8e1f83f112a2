"""The latest views, and the streams that wait for changes.

Filled by the watcher's thread, read by `pages`.  Only the latest views are kept: a slow reader gets
all changes since its last read as one, so memory does not grow with readers or with time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import msgspec

from rayhpc.observe.live.changes import Changes, changes
from rayhpc.observe.live.now import KEYS, Now
from rayhpc.observe.views.everything import Views

# How long a stream may be silent before it sends a sign of life.
_SILENCE_S = 15.0


class Feed:
    """The latest views.

    Args:
        on_readers: called with the number of readers whenever it has changed.
    """

    def __init__(self, on_readers: Callable[[int], None]) -> None:
        self.readers = 0
        self.now: Now | None = None
        self.views: Views | None = None
        self.silent = ""
        self.ended = ""
        self._is_closed = False
        self._on_readers = on_readers
        self._news = asyncio.Event()

    def put(self, now: Now, views: Views | None) -> None:
        """Replace the views (`views` None: they are unchanged)."""
        self.now = now
        self.views = views or self.views
        self.silent = ""
        self._tell()

    def be_silent(self, reason: str) -> None:
        """Note that the cluster has not answered; the last views stay until it does."""
        self.silent = reason
        self._tell()

    def end(self, reason: str) -> None:
        """Note that the cluster has ended; the last views stay."""
        self.ended = reason
        self._tell()

    def close(self) -> None:
        """End the streams, as the server ends; their pages are told nothing."""
        self._is_closed = True
        self._tell()

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events: first everything, then whatever changes, until the end."""
        now: Now | None = None
        views: Views | None = None
        silent = ""
        with self._reading():
            while not self._is_closed:
                news = self._news
                if self.now is not None and self.now is not now:
                    yield _event("now", changes(now, self.now, KEYS))
                    now = self.now
                if self.views is not None and self.views is not views:
                    yield _event("views", changes(views, self.views, {}))
                    views = self.views
                if self.silent != silent:
                    silent = self.silent
                    yield _event("silent", silent)
                if self.ended:
                    yield _event("ended", self.ended)
                    return
                try:
                    await asyncio.wait_for(news.wait(), _SILENCE_S)
                except asyncio.TimeoutError:
                    yield b": still here\n\n"

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self.readers += 1
        self._on_readers(self.readers)
        try:
            yield
        finally:
            self.readers -= 1
            self._on_readers(self.readers)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _event(name: str, data: Changes | str) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
