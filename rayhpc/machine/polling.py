"""The longest a poll may last: milliseconds in 32 bits.

Used wherever poll(2) or zmq_poll waits for a time that a user chose.  To wait longer, callers
check the clock after the poll and poll again.
"""

from __future__ import annotations

# Of the 24 days that fit.
LONGEST_S = 2_000_000.0


def milliseconds(seconds: float) -> int:
    """Seconds in poll's unit, rounded up: a poll of 0 ms just before the deadline would spin."""
    return int(min(max(0.0, seconds), LONGEST_S) * 1000 + 0.999)
