"""The base of every message: a struct sent as an array, preceded by the number of its kind.

Used by the other modules of this package, in which each message is defined once.  Numbers are
assigned in the order of the definitions, and importing any of these modules imports all of them
in one order: so they agree in all processes of one version, which the first message checks.
"""

import itertools

import msgspec

_numbers = itertools.count()


def _next_number(_: str) -> int:
    return next(_numbers)


class Message(msgspec.Struct, array_like=True, tag=_next_number):
    """A message that crosses a process boundary; its parts are `common.Record`s."""
