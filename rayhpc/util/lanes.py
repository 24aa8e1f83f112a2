"""Hands pieces of work to lanes (the actors of a pool, or the cluster), so many at a time.

Used by `multiprocessing.Pool` and `futures.Executor`.  A lane gets its next piece when one is
done, never ahead: a call that waits at an actor cannot be taken back, and would stand behind a
long one while another actor idles.  Completions are handled by whoever waits, and by the
runtime's callback thread while nobody does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import rayhpc
from rayhpc.api.objects.timeouts import seconds
from rayhpc.runtime.owner.entries import ERROR
from rayhpc.runtime.process import current
from rayhpc.runtime.values.errors import load_error


class Lane:
    """Something that runs pieces.

    Args:
        target: what the pieces are started on.
        limit: how many it may have at a time.
    """

    def __init__(self, target: Any, limit: int = 1) -> None:
        self.target = target
        self.limit = limit
        self.busy = 0

    def has_room(self) -> bool:
        """Whether it takes another piece now."""
        return self.busy < self.limit


class Piece:
    """Some work: `start` puts it on a lane, `finish` notes its end, `tell` tells others of it."""

    ref: Any = None

    def start(self, lane: Lane) -> Any:
        """Put it on its way; the reference of its result."""
        raise TypeError(f"{type(self).__name__} does not say how it is started")

    def finish(self, error: BaseException | None) -> None:
        """Its result is there, or its error, which may be that it was never started; quick."""

    def tell(self) -> None:
        """Run what others want to run at its end (no lock is held)."""


class Feeder:
    """The lanes and what waits for them.  Every method may be called from any thread."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self._lock = threading.RLock()
        self._waiting: deque[Piece] = deque()
        self._under_way: dict[Any, tuple[Piece, Lane]] = {}

    def add(self, pieces: list[Piece]) -> None:
        """More work."""
        with self._lock:
            self._waiting.extend(pieces)
            refused = self._feed()
        for piece in refused:
            piece.tell()

    def withdraw(self, piece: Piece) -> bool:
        """Take back a piece that has not been started; False: it has."""
        with self._lock:
            try:
                self._waiting.remove(piece)
            except ValueError:
                return False
        return True

    def drop_waiting(self, error: BaseException) -> None:
        """Start nothing more: what waits ends with this error."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
            for piece in waiting:
                piece.finish(error)
        for piece in waiting:
            piece.tell()

    def is_idle(self) -> bool:
        """Whether everything that was added is done."""
        with self._lock:
            return not self._waiting and not self._under_way

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait, handling completions, until `done()`; False if the time (seconds) is over first.

        `done` must become true by the end of a piece.
        """
        limit = seconds("timeout", timeout)
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            with self._lock:
                # Ends are noted with the lock held: if it is not done, what does it is under way.
                if done():
                    return True
                refs = list(self._under_way)
            if not refs:
                return False
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _ = rayhpc.wait(refs, num_returns=1, timeout=left, fetch_local=False)
            for ref in ready:
                self._on_ready(ref)
            if not ready:
                return done()

    def _feed(self) -> list[Piece]:
        """Start what there is room for (lock held); what could not be started."""
        refused: list[Piece] = []
        for lane in sorted(self.lanes, key=lambda x: x.busy):
            while self._waiting and lane.has_room():
                piece = self._waiting.popleft()
                try:
                    self._start(piece, lane)
                except Exception as error:  # it cannot be pickled, or the cluster has ended
                    piece.finish(error)
                    refused.append(piece)
        return refused

    def _start(self, piece: Piece, lane: Lane) -> None:
        piece.ref = ref = piece.start(lane)
        lane.busy += 1
        self._under_way[ref] = (piece, lane)
        process = current.process()

        def hand_over() -> None:
            # In the leading thread: user code and further submissions belong elsewhere.
            process.callback_pool().submit(self._on_ready, ref)

        process.when_ready(ref, hand_over)

    def _on_ready(self, ref: Any) -> None:
        with self._lock:
            found = self._under_way.pop(ref, None)
            if found is None:
                return
            piece, lane = found
            lane.busy -= 1
            piece.finish(error_of(ref))
            refused = self._feed()
        for ended in (piece, *refused):
            ended.tell()


def error_of(ref: Any) -> BaseException | None:
    """The error that a reference that is ready stands for; None: a value."""
    entry = current.process().entry_of(ref)
    return load_error(entry.value) if entry.state == ERROR else None
