"""Values that a caller gave: how an error shows them, and what text can travel.

Used by all checks of arguments and options; checks nothing by itself.
"""

from __future__ import annotations

from typing import Any

_SHOWN_CHARACTERS = 200


def shown(value: Any) -> str:
    """A value in an error message, cut where it would fill the screen."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def wrong_type(name: str, wanted: str, value: Any) -> TypeError:
    """The error for a value of the wrong type."""
    kind = type(value).__name__
    return TypeError(f"The option {name!r} must be {wanted}, not {shown(value)} ({kind}).")


def encodable(name: str, value: str) -> str:
    """Text that travels as UTF-8.

    Raises:
        UnicodeEncodeError: it holds half of a surrogate pair, as names of odd files do
            (a ValueError).
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        why = (
            f"the option {name!r} cannot be {shown(value)}, since it has characters that UTF-8 "
            "cannot write: leave them out"
        )
        raise UnicodeEncodeError("utf-8", value, error.start, error.end, why) from None
    return value
