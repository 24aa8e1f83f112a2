"""Times that a caller gives to a wait: numbers of seconds, in one way for all of them.

Used by `get`, `wait`, placement groups and the tools of `util`.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

from rayhpc.api.tasks.given import wrong_type

# Thirty years: beyond it a wait has no end, and clocks and polls no number for it.
LONGEST_S = 1e9


def seconds(name: str, value: Any) -> float | None:
    """A time to wait as a float; None: without end, as for infinity and a lifetime.

    Args:
        name: what the caller calls it.
        value: the number given, or None; a negative one is left to the caller.

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
