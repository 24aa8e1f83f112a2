"""Shows the user errors of tasks that nothing in the program has looked at.

Used by `client`, for every driver and worker.  Runs in the thread for callbacks, never in the
leading one, since the user's exceptions are rebuilt here.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable

from rayhpc.runtime.process.callbacks import CallbackThread
from rayhpc.runtime.values.errors import load_error

logger = logging.getLogger("rayhpc")

# In Ray's words and by Ray's variable, since programs look for them.
_VARIABLES = ("RAY_IGNORE_UNHANDLED_ERRORS", "RAYHPC_IGNORE_UNHANDLED_ERRORS")
_SHOWN_OF_A_NAME = 10


def log(error: BaseException) -> None:
    """Log one error."""
    logger.error("Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1'): %s", error)


# What is done with each error; `ray._private.worker` lets programs set it.
handler: Callable[[BaseException], object] = log


class Unhandled:
    """Hands errors that nobody has looked at to `handler`: the first ten of each function.

    Args:
        thread: where that is done.
    """

    def __init__(self, thread: CallbackThread) -> None:
        self._thread = thread
        self._counts: Counter[str] = Counter()

    def report(self, name: str, error: bytes) -> None:
        """A function's error was never looked at (leading thread)."""
        if any(os.environ.get(x, "0") not in ("", "0") for x in _VARIABLES):
            return
        self._counts[name] += 1
        if self._counts[name] <= _SHOWN_OF_A_NAME:
            self._thread.submit(lambda: handler(load_error(error)))
        elif self._counts[name] == _SHOWN_OF_A_NAME + 1:
            self._thread.submit(_say_no_more, name)


def _say_no_more(name: str) -> None:
    logger.error("Further unhandled errors of %s() are not shown.", name)
