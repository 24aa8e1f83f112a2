"""A serialized value in the memory of a store, and back: where every large value passes.

Used by `process.objects` (put, arguments, results) and `process.getting`.  Copies once on the way
in, not at all on the way out: buffers stay in place.  Never asks for memory, nor frees it.
"""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.values import serialization
from rayhpc.store import layout


def size_of(packed: serialization.Serialized) -> int:
    """How many bytes of a store the value takes."""
    return layout.size_needed(packed.pickled, packed.buffers)


def write(place: memoryview, packed: serialization.Serialized) -> None:
    """Copy the value to its place in the store."""
    layout.write_into(place, packed.pickled, packed.buffers)


def read(view: Any) -> Any:
    """The value in a stored object's memory, its buffers in place."""
    pickled, buffers = layout.parse(view)
    return serialization.deserialize(pickled, buffers)
