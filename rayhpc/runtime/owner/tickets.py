"""Tracks for a waiting thread whether enough of what it waits for has arrived.

Only the thread that leads fills a ticket, and only the waiter examines what has arrived; other
threads that lead in the meantime may call `is_filled`, which changes nothing.
"""

from __future__ import annotations


class Ticket:
    """Counts down.

    Args:
        count: how many items are missing.
    """

    __slots__ = ("_missing",)

    def __init__(self, count: int = 1) -> None:
        self._missing = count

    def note(self) -> None:
        """One more has arrived (leading thread)."""
        self._missing -= 1

    def is_filled(self) -> bool:
        """Whether enough have arrived (any thread)."""
        return self._missing <= 0
