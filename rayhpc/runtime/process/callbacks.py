"""The thread in which what users hang on results is run: callbacks of futures, feeders of pools.

Used by `futures`.  Never the leading thread, which handles messages: user code may wait for other
results, and raise.  A thread of our own, not an executor's, since Python closes those before it
calls what `atexit` has registered, where programs may still take their results.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("rayhpc")

_END_S = 1.0
_Work = tuple[Callable[..., object], tuple[Any, ...]]


class CallbackThread:
    """Runs one callback after the other, in the order in which they were given."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Have the thread, if it can still be had: called where a callback is registered."""
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="rayhpc-callbacks", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends
                return
            self._thread = thread

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run it soon; at once, here, where the interpreter no longer starts threads."""
        self._work.put((function, args))
        self.start()
        if self._thread is None:
            self._run_what_there_is()

    def close(self) -> None:
        """End when all that was given has been run, or a second has passed."""
        self._work.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_END_S)

    def _run(self) -> None:
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Run what comes next; False: it is over.  What has run is not kept alive while we wait."""
        work = self._work.get()
        if work is not None:
            _call(work)
        return work is not None

    def _run_what_there_is(self) -> None:
        while True:
            try:
                work = self._work.get_nowait()
            except queue.Empty:
                return
            if work is not None:
                _call(work)


def _call(work: _Work) -> None:
    function, args = work
    try:
        function(*args)
    except BaseException:
        logger.exception("a callback of this program raised an error")
