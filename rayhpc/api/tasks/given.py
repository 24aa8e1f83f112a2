"""Values that a caller passed: how errors show them, and which text can be sent.

Used by all checks of arguments and options; checks no option itself.
"""

from __future__ import annotations

from typing import Any

_SHOWN_CHARACTERS = 200


def shown(value: Any) -> str:
    """A value for an error message, truncated if it is very long."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        return "a number with thousands of digits"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def wrong_type(name: str, wanted: str, value: Any) -> TypeError:
    """The error for a value of the wrong type."""
    kind = type(value).__name__
    return TypeError(f"The option {name!r} must be {wanted}, not {shown(value)} ({kind}).")


def encodable(name: str, value: str) -> str:
    """Check that text can be encoded as UTF-8.

    Raises:
        UnicodeEncodeError: it contains half of a surrogate pair, as odd file names do (a
            ValueError).
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        why = (
            f"the option {name!r} cannot be {shown(value)}, since it contains characters that "
            "UTF-8 cannot encode: leave them out"
        )
        raise UnicodeEncodeError("utf-8", value, error.start, error.end, why) from None
    return value
