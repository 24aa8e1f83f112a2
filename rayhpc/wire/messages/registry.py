"""The base of every message: a struct that travels as an array, after the number of its kind.

Used by the other modules of this package, in which each message is defined once.  The numbers are
given in the order of the definitions, and importing any of these modules imports all of them in
one order: so they are the same in every process of one version, which the first message checks.
"""

from __future__ import annotations

import itertools

import msgspec

_numbers = itertools.count()


def _next_number(_: str) -> int:
    return next(_numbers)


class Message(msgspec.Struct, array_like=True, tag=_next_number):
    """What crosses a process border on its own; the parts of one are `common.Record`s."""
