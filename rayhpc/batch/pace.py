"""When to ask the batch system again: seldom, and never while the job's folder has the answer.

Used by `follow`.  A small state machine: the time is passed in, and nothing is done here.
"""

from __future__ import annotations

FIRST_S = 1.0
LONGEST_PENDING_S = 60.0
SILENCE_S = 60.0
LONGEST_SILENCE_S = 600.0


class Pace:
    """Decides when a query is due.

    While the job is pending the intervals double up to a minute.  Once it runs, its output is
    enough; only after a minute without any is a query due, and twice as long after each answer.
    """

    def __init__(self, now: float) -> None:
        self._running = False
        self._interval = FIRST_S
        self._due = now + FIRST_S

    def is_due(self, now: float) -> bool:
        """Whether to query now."""
        return now >= self._due

    def on_output(self, now: float) -> None:
        """The job's folder has changed: the job is running, and not silent."""
        self._running = True
        self._interval = SILENCE_S
        self._due = now + SILENCE_S

    def on_answer(self, now: float, pending: bool) -> None:
        """The batch system has answered."""
        if pending and self._running:  # requeued
            self._running, self._interval = False, FIRST_S
        elif not pending and not self._running:
            self.on_output(now)
            return
        longest = LONGEST_SILENCE_S if self._running else LONGEST_PENDING_S
        self._interval = min(2 * self._interval, longest)
        self._due = now + self._interval
