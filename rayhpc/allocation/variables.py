"""Parses single variables into facts, with errors that name the variable.

Used by every table of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from rayhpc.allocation.fact import Candidate, Fact, first

T = TypeVar("T")


def text(environ: Mapping[str, str], *names: str) -> Fact[str | None]:
    """The first of `names` that is set; all that are set become candidates."""
    found = [Candidate[str | None](environ[name], name) for name in names if environ.get(name)]
    return first(found) if found else Fact(None, "not set")


def number(environ: Mapping[str, str], *names: str) -> Fact[int | None]:
    """Like `text`, for integers.  Raises ValueError naming a variable that is not one."""
    found = [
        Candidate[int | None](to_int(environ, name), name) for name in names if environ.get(name)
    ]
    return first(found) if found else Fact(None, "not set")


def number_or(fallback: int, reason: str, environ: Mapping[str, str], *names: str) -> Fact[int]:
    """Like `number`, with a fallback and its reason for when none is set."""
    fact = number(environ, *names)
    if fact.value is None:
        return Fact(fallback, reason)
    return Fact(fact.value, fact.source, fact.candidates)


def to_int(environ: Mapping[str, str], name: str) -> int:
    """One variable as an integer.  Raises ValueError naming it."""
    try:
        return int(environ[name])
    except ValueError:
        raise ValueError(
            f"{name}={environ[name]!r} is not a whole number; unset it, or pass --rank and --size"
        ) from None
