"""The values that generated programs pass around: made from a number, reduced to one again.

Used by `plain` (which computes the answer), `cluster` (which has a cluster compute it) and
`generate`.  Deterministic in every process; knows nothing of rayhpc but what an `ObjectRef` is.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

# What a step can make: a kind and its size in bytes.
SHAPES: list[tuple[str, int]] = [
    ("int", 0),
    ("int", 0),
    ("text", 200),
    ("bytes", 90_000),
    ("array", 800),
    ("array", 90_000),
    ("array", 300_000),
    ("array", 2_000_000),
    ("mixed", 150_000),
]


def make(shape: tuple[str, int], number: int) -> Any:
    """A value of this shape, which depends on the number alone."""
    kind, size = shape
    if kind == "int":
        return number
    if kind == "text":
        return (str(number) + "ä") * (size // 10)
    if kind == "bytes":
        return number.to_bytes(8, "big") * (size // 8)
    if kind == "array":
        return np.full(max(1, size // 8), number, dtype=np.int64)
    return {"n": number, "rows": [np.arange(size // 16) + number, (number, "end")]}


def digest(value: Any) -> int:
    """A number of 32 bits for a value made of what `make` makes, in lists, tuples and dicts."""
    if isinstance(value, np.ndarray):
        return zlib.crc32(np.ascontiguousarray(value).view(np.uint8).data, value.ndim)
    if isinstance(value, (list, tuple)):
        return combine([digest(x) for x in value])
    if isinstance(value, dict):
        return combine([digest(x) for pair in sorted(value.items()) for x in pair])
    return zlib.crc32(repr(value).encode())


def combine(numbers: list[int]) -> int:
    """One number for several, in their order."""
    return zlib.crc32(repr(numbers).encode())
