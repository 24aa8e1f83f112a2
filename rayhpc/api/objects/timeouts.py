"""Timeouts in seconds, checked the same way everywhere.

Used by `get`, `wait`, placement groups and the tools of `util`.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

from rayhpc.api.tasks.given import wrong_type

# Thirty years: anything longer is endless, and clocks and polls could not represent it.
LONGEST_S = 1e9


def seconds(name: str, value: Any) -> float | None:
    """A timeout as a float; None: endless, also for infinity and anything beyond a lifetime.

    Args:
        name: the caller's name for it.
        value: a number, or None; negative numbers are left to the caller.

    Raises:
        TypeError: not a number.
        ValueError: not a number of seconds (NaN).
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong_type(name, "a number of seconds, or None to wait for ever", value)
    given: Any = value
    try:
        number = float(given)
    except OverflowError:
        number = math.inf if given > 0 else -math.inf
    if number > LONGEST_S:
        return None
    if math.isnan(number):
        raise ValueError(f"The option {name!r} must be a number of seconds, not NaN.")
    return number
