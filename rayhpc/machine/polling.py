"""How long one poll may last: milliseconds in 32 bits.

Used by all that wait in poll(2) or zmq_poll for a time that a user chose.  Who wants to wait longer
looks at the clock when the poll is over, and polls again.
"""

from __future__ import annotations

# Of the 24 days that fit.
LONGEST_S = 2_000_000.0


def milliseconds(seconds: float) -> int:
    """Seconds as poll takes them, rounded up: a poll of 0 ms just before the end would spin."""
    return int(min(max(0.0, seconds), LONGEST_S) * 1000 + 0.999)
