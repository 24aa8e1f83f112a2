"""Java's `WritableUtils`: variable-length numbers and byte strings, as used in token files.

Used by `tokens`.
"""

from __future__ import annotations


def read_vint(data: bytes, at: int) -> tuple[int, int]:
    """The number at position `at`, and the position after it.

    Raises:
        ValueError: it is cut off.
    """
    if at >= len(data):
        raise ValueError("a number is cut off")
    first = int.from_bytes(data[at : at + 1], "big", signed=True)
    at += 1
    if first >= -112:
        return first, at
    negative = first < -120
    size = -120 - first if negative else -112 - first
    if at + size > len(data):
        raise ValueError("a number is cut off")
    value = int.from_bytes(data[at : at + size], "big")
    return (~value if negative else value), at + size


def write_vint(value: int) -> bytes:
    """A signed number of up to 64 bits.  Raises ValueError for a larger one."""
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} does not fit into 64 bits")
    if -112 <= value <= 127:
        return value.to_bytes(1, "big", signed=True)
    base, rest = (-120, ~value) if value < 0 else (-112, value)
    size = (rest.bit_length() + 7) // 8
    return (base - size).to_bytes(1, "big", signed=True) + rest.to_bytes(size, "big")


def read_blob(data: bytes, at: int) -> tuple[bytes, int]:
    """The byte string, preceded by its length, at position `at`, and the position after it.

    Raises:
        ValueError: it is cut off.
    """
    size, at = read_vint(data, at)
    if size < 0 or at + size > len(data):
        raise ValueError("a byte string is cut off")
    return bytes(data[at : at + size]), at + size


def write_blob(data: bytes) -> bytes:
    """A byte string, preceded by its length."""
    return write_vint(len(data)) + data
