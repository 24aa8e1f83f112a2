"""A few threads for work that would block the raylet's loop: disk I/O, clearing memory.

Used by `manager`; the parts know it as `context.Executor`.  Threads start when there is work.
Decides nothing: results go to callbacks in the raylet's own thread, and so do events from other
threads (those of the data plane).
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_THREADS = 3
_CLOSE_SECONDS = 5.0


class Background:
    """Runs work in threads; `wake_fd` becomes readable when some is finished."""

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.busy = 0
        self._todo: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None]
        self._todo = queue.SimpleQueue()
        self._done: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._told: deque[Callable[[], None]] = deque()
        self._threads: list[threading.Thread] = []

    def submit(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run `work` in a thread (it must not raise), then `done` with its result in `run_done`."""
        self.busy += 1
        self._todo.put((work, done))
        if len(self._threads) < min(_THREADS, self.busy):
            thread = threading.Thread(target=self._run, name="rayhpc-store", daemon=True)
            self._threads.append(thread)
            thread.start()

    def tell(self, action: Callable[[], None]) -> None:
        """Call `action` in `run_done`, in the order of the calls (any thread)."""
        self._told.append(action)
        os.eventfd_write(self.wake_fd, 1)

    def run_done(self) -> None:
        """Call `done` for everything finished, and every action passed to `tell`."""
        try:
            os.eventfd_read(self.wake_fd)
        except BlockingIOError:
            pass  # Nothing has finished since last time; some may still be left to call.
        while self._done:
            done, result = self._done.popleft()
            self.busy -= 1
            done(result)
        while self._told:
            self._told.popleft()()

    def close(self) -> None:
        """Stop the threads once they finish what they are doing."""
        while not self._todo.empty():
            self._todo.get()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self.wake_fd)

    def _run(self) -> None:
        while True:
            job = self._todo.get()
            if job is None:
                return
            work, done = job
            self._done.append((done, work()))
            os.eventfd_write(self.wake_fd, 1)
