"""Passes work to what runs it (the actors of a pool, or the cluster), a limited number at a time.

Used by `multiprocessing.Pool` and `futures.Executor`.  A target gets its next item when one is
done, never ahead: a call queued at an actor cannot be taken back, and would wait behind a long one
while another actor is idle.  Completions are handled by whichever thread waits, and by the
runtime's callback thread when none does.  Never starts a cluster: work left over when the program
leaves its cluster ends with an error.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import rayhpc
from rayhpc.api.objects.completion import error_of, wait_for_one, when_done
from rayhpc.api.objects.timeouts import seconds
from rayhpc.exceptions import RaySystemError


class Target:
    """Something that runs work.

    Args:
        runner: what starts the items.
        limit: how many it may have at a time.
    """

    def __init__(self, runner: Any, limit: int = 1) -> None:
        self.runner = runner
        self.limit = limit
        self.running = 0

    def has_room(self) -> bool:
        """Whether it takes another item now."""
        return self.running < self.limit


class WorkItem:
    """Some work: `start` starts it, `finish` records its end, `tell` notifies others of it."""

    ref: Any = None

    def start(self, target: Target) -> Any:
        """Start it; returns the reference to its result."""
        raise TypeError(f"{type(self).__name__} does not implement start()")

    def finish(self, error: BaseException | None) -> None:
        """Its result or error is there (perhaps that it was never started).  Must be quick."""

    def tell(self) -> None:
        """Run whatever others want to run at its end (no lock is held)."""


class Dispatcher:
    """The targets and the work waiting for them.  Every method may be called from any thread."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets = targets
        self._lock = threading.RLock()
        self._waiting: deque[WorkItem] = deque()
        self._running: dict[Any, tuple[WorkItem, Target]] = {}
        self._closed: BaseException | None = None

    def add(self, items: list[WorkItem]) -> None:
        """Add work; after `close` it ends at once with that error."""
        with self._lock:
            self._waiting.extend(items)
            refused = self._start_waiting()
        _tell(refused)

    def withdraw(self, item: WorkItem) -> bool:
        """Take back an item that has not been started; False: it has."""
        with self._lock:
            try:
                self._waiting.remove(item)
            except ValueError:
                return False
        return True

    def close(self, error: BaseException) -> None:
        """Start nothing more: waiting and later work ends with this error."""
        with self._lock:
            self._closed = error
            dropped = self._drop_waiting(error)
        _tell(dropped)

    def is_idle(self) -> bool:
        """Whether everything that was added is done."""
        with self._lock:
            return not self._waiting and not self._running

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait, handling completions, until `done()`; False after `timeout` seconds.

        `done` must become true at the end of some item.
        """
        limit = seconds("timeout", timeout)
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            if not rayhpc.is_initialized():
                self._abandon()
            with self._lock:
                # Ends are recorded with the lock held: if it is not done, what ends it is still
                # running.
                if done():
                    return True
                refs = list(self._running)
            if not refs:
                return False
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                ready = wait_for_one(refs, left)
            except RaySystemError:  # the cluster has ended, or was left in the meantime
                self._abandon()
                continue
            for ref in ready:
                self._on_ready(ref)
            if not ready:
                return done()

    def _start_waiting(self) -> list[WorkItem]:
        """Start what there is room for (lock held); returns what could not be started."""
        if not self._waiting:
            return []
        if self._closed is not None:
            return self._drop_waiting(self._closed)
        if not rayhpc.is_initialized():
            return self._drop_waiting(_left())
        refused: list[WorkItem] = []
        for target in sorted(self.targets, key=lambda x: x.running):
            while self._waiting and target.has_room():
                item = self._waiting.popleft()
                try:
                    self._start(item, target)
                except Exception as error:  # it cannot be pickled, or the cluster has ended
                    item.finish(error)
                    refused.append(item)
        return refused

    def _start(self, item: WorkItem, target: Target) -> None:
        item.ref = ref = item.start(target)
        target.running += 1
        self._running[ref] = (item, target)
        when_done(ref, self._on_ready)

    def _on_ready(self, ref: Any) -> None:
        with self._lock:
            found = self._running.pop(ref, None)
            if found is None:
                return
            item, target = found
            target.running -= 1
            try:
                error = error_of(ref)
            except RaySystemError as left:
                error = left
            item.finish(error)
            refused = self._start_waiting()
        _tell([item, *refused])

    def _abandon(self) -> None:
        """The program has left the cluster: outstanding results will never arrive."""
        with self._lock:
            error = _left()
            ended = [item for item, _ in self._running.values()]
            self._running.clear()
            for item in ended:
                item.finish(error)
            ended += self._drop_waiting(error)
        _tell(ended)

    def _drop_waiting(self, error: BaseException) -> list[WorkItem]:
        """End what waits (lock held); returns the items."""
        dropped, self._waiting = list(self._waiting), deque()
        for item in dropped:
            item.finish(error)
        return dropped


def _left() -> RaySystemError:
    return RaySystemError(
        "The program has left the cluster (shutdown) that this work was submitted to: wait for the "
        "results first, and create a new pool or executor after init()."
    )


def _tell(items: list[WorkItem]) -> None:
    for item in items:
        item.tell()
