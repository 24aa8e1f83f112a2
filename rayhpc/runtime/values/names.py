"""Names of users' functions as text that can be sent.

Used where a function is submitted and where it is loaded.  Python allows any text as `__name__`,
even half of a surrogate pair, which UTF-8 cannot encode and no message can contain.
"""

from __future__ import annotations

from typing import Any


def name_of(function: Any) -> str:
    """A callable's name, with `\\udc80` escaped where UTF-8 cannot encode it."""
    name = getattr(function, "__name__", None)
    text = name if isinstance(name, str) else repr(function)
    return text.encode("utf-8", "backslashreplace").decode()


def make_nameable(function: Any) -> None:
    """Give a callable such a name permanently, so that no call has to check."""
    name = getattr(function, "__name__", None)
    if isinstance(name, str) and name_of(function) != name:
        function.__name__ = name_of(function)
