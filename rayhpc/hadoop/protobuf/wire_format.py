"""Protobuf's wire format: varints, and one raw value at a time.

Used by `fields` and `base`.  Knows no messages.
"""

from __future__ import annotations

from rayhpc.hadoop.protobuf.errors import CodecError

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
_MASK64 = 0xFFFFFFFFFFFFFFFF


def encode_varint(value: int) -> bytes:
    """The bytes of an unsigned number, or of a negative 64-bit one."""
    value &= _MASK64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The unsigned number at position `at`, and the position after it.

    Raises:
        CodecError: it is cut off, or longer than ten bytes.
    """
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise CodecError("a number is cut off or too long")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK64, at
        shift += 7


def to_signed(value: int, bits: int) -> int:
    """The lowest `bits` of a number as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def read_raw(data: memoryview, at: int, wire_type: int) -> tuple[int | memoryview, int]:
    """One value as it is on the wire, and the position after it.

    Raises:
        CodecError: it is cut off, or its wire type does not exist.
    """
    if wire_type == VARINT:
        return decode_varint(data, at)
    if wire_type == DELIMITED:
        size, at = decode_varint(data, at)
    elif wire_type == FIXED32:
        size = 4
    elif wire_type == FIXED64:
        size = 8
    else:
        raise CodecError(f"wire type {wire_type} does not exist")
    if at + size > len(data):
        raise CodecError("a value is cut off")
    return data[at : at + size], at + size
