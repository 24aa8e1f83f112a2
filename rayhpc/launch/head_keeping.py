"""Whether a head that has ended is started again: decisions only.

Used by `head_keeper`, on the head's node.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable

from rayhpc.exit_codes import exit_code_of, in_words
from rayhpc.head.config import FOR_GOOD

# A head that dies more often than this is not helped by another start.
MOST = 3
WITHIN_S = 60.0
# The first time at once, then with a growing pause.
PAUSE_S = 0.1


class HeadKeeping:
    """The deaths of one cluster's head.

    Args:
        now: the time in seconds, monotonic.

    Attributes:
        start_at: when it is to be started again; infinity: not now.
        why: how it ended last, or why it is not started again.
        given_up: it is not started again unless somebody asks.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._starts: deque[float] = deque()
        self.start_at = math.inf
        self.why = ""
        self.given_up = False

    def ended(self, status: int, said: str = "") -> None:
        """Its process has ended.

        Args:
            status: how, as waitpid(2) tells it.
            said: why it could not serve, in its own words (empty: it did serve).
        """
        code = os.waitstatus_to_exitcode(status)
        self.why = said or f"the head has ended ({in_words(exit_code_of(code))})"
        now = self._now()
        while self._starts and now - self._starts[0] >= WITHIN_S:
            self._starts.popleft()
        if code in FOR_GOOD:
            self.given_up = True
        elif len(self._starts) >= MOST:
            self.given_up = True
            self.why = f"{self.why}, for the {MOST + 1}th time within {WITHIN_S:g} s"
        else:
            self.start_at = now + PAUSE_S * (2 ** len(self._starts) - 1)

    def asked(self) -> None:
        """Somebody wants it started, whatever happened before."""
        self._starts.clear()
        self.given_up = False
        self.start_at = self._now()

    def started(self) -> None:
        """It has been started again."""
        self._starts.append(self._now())
        self.start_at = math.inf
