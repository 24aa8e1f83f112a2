"""The layout of a stored object: a short table, the pickle, then its buffers, aligned.

Used by `runtime.getting` for writing and reading.  Copies when writing, never when reading: `parse`
returns views onto the exporter it is given (see `mapping`), which keep that exporter alive.

    "RHO1" | number of buffers (4) | length of the pickle (8) | length of each buffer (8 each)
    the pickle, right behind it | each buffer, at the next multiple of 64
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from pickle import PickleBuffer
from typing import Any

ALIGNMENT = 64

_MAGIC = b"RHO1"
_HEAD = struct.Struct("<4sIQ")
_LENGTH = 8
# A slice copy holds the GIL: done in pieces, so that other threads get a turn.
_PIECE = 8 * 2**20
_LARGE = 256 * 1024


def size_needed(pickled: Any, buffers: Sequence[Any]) -> int:
    """The bytes that `write_into` will fill for this pickle and its out-of-band buffers."""
    end = _HEAD.size + _LENGTH * len(buffers) + memoryview(pickled).nbytes
    for buffer in buffers:
        end = _aligned(end) + memoryview(buffer).nbytes
    return end


def write_into(view: memoryview, pickled: Any, buffers: Sequence[Any]) -> None:
    """Write an object to its allocated space.

    Args:
        view: writable bytes, 64-byte aligned, at least `size_needed` long.
        pickled: the pickle (bytes-like).
        buffers: contiguous buffers, in the order the pickle expects.

    Raises:
        BufferError: a buffer is not contiguous.
        ValueError: the space is too small.
    """
    raws = [PickleBuffer(buffer).raw() for buffer in buffers]
    body = PickleBuffer(pickled).raw()
    _HEAD.pack_into(view, 0, _MAGIC, len(raws), body.nbytes)
    struct.pack_into(f"<{len(raws)}Q", view, _HEAD.size, *(raw.nbytes for raw in raws))
    end = _HEAD.size + _LENGTH * len(raws)
    _copy(view, end, body)
    end += body.nbytes
    for raw in raws:
        end = _aligned(end)
        _copy(view, end, raw)
        end += raw.nbytes


def parse(exporter: Any) -> tuple[memoryview, list[memoryview]]:
    """The pickle and the buffers of an object, read-only and in place.

    Raises:
        ValueError: these bytes are not a stored object.
    """
    view = memoryview(exporter).cast("B").toreadonly()
    try:
        magic, count, length = _HEAD.unpack_from(view)
        lengths = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
    except struct.error:
        magic = b""
    if magic != _MAGIC:
        raise ValueError("this memory holds no stored object")
    end = _HEAD.size + _LENGTH * count
    pickled = view[end : end + length]
    end += length
    buffers = []
    for nbytes in lengths:
        end = _aligned(end)
        buffers.append(view[end : end + nbytes])
        end += nbytes
    if end > view.nbytes:
        raise ValueError(f"this object needs {end} bytes but only {view.nbytes} are here")
    return pickled, buffers


def _aligned(position: int) -> int:
    return (position + ALIGNMENT - 1) & -ALIGNMENT


def _copy(view: memoryview, start: int, raw: memoryview) -> None:
    end = start + raw.nbytes
    if end > view.nbytes:
        raise ValueError(f"a place of {view.nbytes} bytes cannot take {end}")
    numpy = sys.modules.get("numpy")
    if raw.nbytes >= _LARGE and numpy is not None and hasattr(numpy, "copyto"):
        # As fast as a slice (memcpy), but releases the GIL.
        target = numpy.frombuffer(view, numpy.uint8, raw.nbytes, start)
        numpy.copyto(target, numpy.frombuffer(raw, numpy.uint8))
        return
    for position in range(0, raw.nbytes, _PIECE):
        piece = raw[position : position + _PIECE]
        view[start + position : start + position + piece.nbytes] = piece
