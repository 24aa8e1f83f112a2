"""Names of users' functions as text that travels.

Used where a function is submitted and where it is loaded.  Python lets `__name__` be any text, also
half of a surrogate pair, which no UTF-8 can write and no message can hold.
"""

from __future__ import annotations

from typing import Any


def name_of(function: Any) -> str:
    """A callable's name, with `\\udc80` written out where UTF-8 cannot write it."""
    name = getattr(function, "__name__", None)
    text = name if isinstance(name, str) else repr(function)
    return text.encode("utf-8", "backslashreplace").decode()


def make_nameable(function: Any) -> None:
    """Give a callable such a name for good, so that no call has to look."""
    name = getattr(function, "__name__", None)
    if isinstance(name, str) and name_of(function) != name:
        function.__name__ = name_of(function)
