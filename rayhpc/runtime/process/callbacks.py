"""The thread that runs what users attach to results: callbacks of futures, feeders of pools.

Used by `futures`.  Never the leading thread, which handles messages: user code may wait for other
results, and raise.  Our own thread, not an executor's, since Python stops those before it runs the
`atexit` handlers, where programs may still collect results.
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
    """Runs callbacks one after another, in the order in which they were submitted."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, if still possible; called where a callback is registered."""
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="rayhpc-callbacks", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is exiting
                return
            self._thread = thread

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run it soon; at once, right here, if the interpreter no longer starts threads."""
        self._work.put((function, args))
        self.start()
        if self._thread is None:
            self._run_what_there_is()

    def close(self) -> None:
        """End once everything submitted has run, or after a second."""
        self._work.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_END_S)

    def _run(self) -> None:
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Run the next callback; False: closed.  None is kept alive while waiting."""
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
        logger.exception("a callback of this program raised an exception")
