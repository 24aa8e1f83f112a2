"""The kinds of values that a field can hold: how each is written and read.

Used by `fields`.  A kind knows neither the field's number nor its name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from rayhpc.hadoop.protobuf.errors import CodecError
from rayhpc.hadoop.protobuf.wire_format import (
    DELIMITED,
    FIXED32,
    VARINT,
    encode_varint,
    to_signed,
)


@dataclass(frozen=True)
class Kind:
    """How one kind of value is encoded; `name` is protobuf's name for it."""

    name: str
    wire_type: int
    zero: Any
    encode: Callable[[Any], bytes]
    decode: Callable[[Any], Any]


def _whole(name: str, low: int, high: int, decode: Callable[[int], int]) -> Kind:
    def encode(value: int) -> bytes:
        return encode_varint(_checked(value, low, high))

    return Kind(name, VARINT, 0, encode, decode)


def _checked(value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CodecError(f"{type(value).__name__} instead of a whole number")
    if not low <= value < high:
        raise CodecError(f"{value} is out of range")
    return value


def _encode_zigzag(value: int) -> bytes:
    number = _checked(value, -(2**31), 2**31)
    return encode_varint((number << 1) ^ (number >> 63))


def _encode_float(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except (struct.error, OverflowError):
        raise CodecError(f"{value!r} is not a number of 32 bits") from None


def _encode_text(value: str) -> bytes:
    if not isinstance(value, str):
        raise CodecError(f"{type(value).__name__} instead of text")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise CodecError("text that UTF-8 cannot hold") from None


def _decode_text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise CodecError("a string that is not UTF-8") from None


def _encode_bytes(value: bytes) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise CodecError(f"{type(value).__name__} instead of bytes")
    return bytes(value)


def _encode_bool(value: bool) -> bytes:
    return b"\1" if value else b"\0"


def _decode_float(data: memoryview) -> float:
    return float(struct.unpack("<f", data)[0])


INT32 = _whole("int32", -(2**31), 2**31, lambda value: to_signed(value, 32))
INT64 = _whole("int64", -(2**63), 2**63, lambda value: to_signed(value, 64))
UINT32 = _whole("uint32", 0, 2**32, lambda value: value & 0xFFFFFFFF)
UINT64 = _whole("uint64", 0, 2**64, lambda value: value)
SINT32 = Kind(
    "sint32", VARINT, 0, _encode_zigzag, lambda value: to_signed(value >> 1 ^ -(value & 1), 32)
)
BOOL = Kind("bool", VARINT, False, _encode_bool, bool)
FLOAT = Kind("float", FIXED32, 0.0, _encode_float, _decode_float)
STRING = Kind("string", DELIMITED, "", _encode_text, _decode_text)
BYTES = Kind("bytes", DELIMITED, b"", _encode_bytes, bytes)


def enumeration_kind(enum: type[IntEnum]) -> Kind:
    """Values of an enumeration; a value added by a newer server reads as a plain number."""

    def encode(value: int) -> bytes:
        return encode_varint(_checked(value, -(2**31), 2**31))

    def decode(value: int) -> int:
        number = to_signed(value, 32)
        try:
            return enum(number)
        except ValueError:
            return number

    return Kind("enum", VARINT, next(iter(enum)), encode, decode)
