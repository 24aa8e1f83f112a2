"""What a waiting thread holds until enough of what it waits for has come.

Only the thread that leads fills a ticket, and the waiter alone looks at what has come: other
threads that lead meanwhile may ask `is_filled`, which changes nothing.
"""

from __future__ import annotations


class Ticket:
    """Counts down.

    Args:
        count: how many things are missing.
    """

    __slots__ = ("_missing",)

    def __init__(self, count: int = 1) -> None:
        self._missing = count

    def note(self) -> None:
        """One has come (leading thread)."""
        self._missing -= 1

    def is_filled(self) -> bool:
        """Whether enough have come (any thread)."""
        return self._missing <= 0
