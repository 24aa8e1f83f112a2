"""Entries sorted roughly by size: find one that is large enough, or the largest, in constant time.

Used by `allocator` (free blocks) and by the raylet's object tables (what to spill first).  Size
classes are an eighth of a power of two wide; within a class, entries are in order of arrival.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

# Smaller differences in size are ignored.
GRAIN = 64
# How many members of a request's own class are examined before the next class up is used.
_LOOKS = 8


class SizeBins(Generic[Key]):
    """A set of keys with sizes in bytes."""

    __slots__ = ("_bins", "_bits")

    def __init__(self) -> None:
        self._bins: dict[int, dict[Key, int]] = {}
        self._bits = 0

    def __bool__(self) -> bool:
        return self._bits != 0

    def add(self, key: Key, size: int) -> None:
        """Add a key; it becomes the newest of its class."""
        number = _class_of(size)
        members = self._bins.get(number)
        if members is None:
            members = self._bins[number] = {}
            self._bits |= 1 << number
        members[key] = size

    def discard(self, key: Key, size: int) -> None:
        """Remove a key, if present; `size` is what it was added with."""
        number = _class_of(size)
        members = self._bins.get(number)
        if members is None or members.pop(key, None) is None:
            return
        if not members:
            del self._bins[number]
            self._bits &= ~(1 << number)

    def at_least(self, size: int) -> Key | None:
        """A key of at least that size, among the smallest such, newest first."""
        number = _class_of(size)
        best: Key | None = None
        best_size = 0
        members: dict[Key, int] = self._bins.get(number) or {}
        for looked, (key, found) in enumerate(reversed(members.items())):
            if found == size:
                return key
            if found > size and (best is None or found < best_size):
                best, best_size = key, found
            if looked == _LOOKS:
                break
        if best is not None:
            return best
        above = self._bits >> number + 1
        if not above:
            return None
        number += 1 + ((above & -above).bit_length() - 1)
        return next(reversed(self._bins[number]))

    def largest(self) -> Key | None:
        """A key from the class of the largest sizes, oldest first."""
        if not self._bits:
            return None
        return next(iter(self._bins[self._bits.bit_length() - 1]))


def _class_of(size: int) -> int:
    units = size // GRAIN
    exponent = units.bit_length()
    if exponent <= 4:
        return units
    return 16 + (exponent - 5) * 8 + ((units >> (exponent - 4)) & 7)
