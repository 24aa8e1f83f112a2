"""A serialized value in a store's memory, and the inverse: the path of every large value.

Used by `process.objects` (put, arguments, results) and `process.getting`.  Copies once when
writing, never when reading: buffers stay in place.  Never allocates or frees memory.
"""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.values import serialization
from rayhpc.store import layout


def size_of(packed: serialization.Serialized) -> int:
    """How many bytes the value takes in a store."""
    return layout.size_needed(packed.pickled, packed.buffers)


def write(place: memoryview, packed: serialization.Serialized) -> None:
    """Copy the value to its space in the store."""
    layout.write_into(place, packed.pickled, packed.buffers)


def read(view: Any) -> Any:
    """The value in a stored object's memory, its buffers in place."""
    pickled, buffers = layout.parse(view)
    return serialization.deserialize(pickled, buffers)
