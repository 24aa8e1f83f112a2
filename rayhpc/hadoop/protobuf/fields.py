"""The fields of a message: a descriptor for each, and the functions that declare them.

Used in the bodies of `Message` classes:

    class ContainerIdProto(Message):
        app_id: ApplicationIdProto | None = message(1, ApplicationIdProto)
        id: int = int64(3)

A field that was not set reads as its default: a scalar as the declared or zero value, a message as
None, a repeated field as a list that can be appended to.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Protocol

from rayhpc.hadoop.protobuf import kinds
from rayhpc.hadoop.protobuf.errors import CodecError
from rayhpc.hadoop.protobuf.kinds import Kind
from rayhpc.hadoop.protobuf.wire_format import DELIMITED, encode_varint


class Nested(Protocol):
    """What a field needs from a message inside another."""

    def encode(self) -> bytes:
        """The message as bytes."""

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Any:
        """Read what `encode` wrote."""


class Field:
    """One field of a message; as a descriptor it returns the default if nothing was set."""

    def __init__(
        self, number: int, kind: Kind, default: Any, *, repeated: bool, required: bool
    ) -> None:
        self.number = number
        self.kind = kind
        self.repeated = repeated
        self.required = required
        self.default = kind.zero if default is None else default
        self.name = ""
        self._tag = encode_varint(number << 3 | kind.wire_type)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    # Not a data descriptor: a value that was set is in the instance's own dictionary, found first.
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        if not self.repeated:
            return self.default
        return instance.__dict__.setdefault(self.name, [])

    def encode(self, value: Any) -> bytes:
        """One value with its tag.  Raises CodecError naming the field."""
        try:
            data = self.kind.encode(value)
        except CodecError as error:
            raise CodecError(f"{self.name}: {error}") from None
        size = encode_varint(len(data)) if self.kind.wire_type == DELIMITED else b""
        return self._tag + size + data


def int32(number: int, default: int = 0, *, repeated: bool = False, required: bool = False) -> Any:
    """A 32-bit integer."""
    return Field(number, kinds.INT32, default, repeated=repeated, required=required)


def int64(number: int, default: int = 0, *, repeated: bool = False, required: bool = False) -> Any:
    """A 64-bit integer."""
    return Field(number, kinds.INT64, default, repeated=repeated, required=required)


def uint32(number: int, *, required: bool = False) -> Any:
    """An unsigned 32-bit integer."""
    return Field(number, kinds.UINT32, 0, repeated=False, required=required)


def uint64(number: int, *, required: bool = False) -> Any:
    """An unsigned 64-bit integer."""
    return Field(number, kinds.UINT64, 0, repeated=False, required=required)


def sint32(number: int, default: int = 0, *, required: bool = False) -> Any:
    """A 32-bit integer in zigzag encoding."""
    return Field(number, kinds.SINT32, default, repeated=False, required=required)


def boolean(number: int, default: bool = False) -> Any:
    """True or false."""
    return Field(number, kinds.BOOL, default, repeated=False, required=False)


def float32(number: int, *, required: bool = False) -> Any:
    """A 32-bit floating-point number."""
    return Field(number, kinds.FLOAT, 0.0, repeated=False, required=required)


def string(
    number: int, default: str = "", *, repeated: bool = False, required: bool = False
) -> Any:
    """Text."""
    return Field(number, kinds.STRING, default, repeated=repeated, required=required)


def bytestring(number: int, *, required: bool = False) -> Any:
    """Bytes."""
    return Field(number, kinds.BYTES, b"", repeated=False, required=required)


def enumeration(
    number: int,
    enum: type[IntEnum],
    default: IntEnum | None = None,
    *,
    repeated: bool = False,
    required: bool = False,
) -> Any:
    """A value of an enumeration; the first one unless another default is declared."""
    kind = kinds.enumeration_kind(enum)
    return Field(number, kind, default, repeated=repeated, required=required)


def message(
    number: int, cls: type[Nested], *, repeated: bool = False, required: bool = False
) -> Any:
    """Another message."""

    def encode(value: Nested) -> bytes:
        if not isinstance(value, cls):
            raise CodecError(f"{type(value).__name__} instead of {cls.__name__}")
        return value.encode()

    kind = Kind(cls.__name__, DELIMITED, None, encode, cls.decode)
    return Field(number, kind, None, repeated=repeated, required=required)
