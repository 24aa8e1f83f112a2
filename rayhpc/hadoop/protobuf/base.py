"""The base class of all messages, and length-delimited messages.

Fields and enumeration values that a class does not know are kept and written back unchanged, so
that a newer server's messages survive the round trip.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from rayhpc.hadoop.protobuf.errors import CodecError
from rayhpc.hadoop.protobuf.fields import Field
from rayhpc.hadoop.protobuf.wire_format import (
    DELIMITED,
    VARINT,
    decode_varint,
    encode_varint,
    read_raw,
)

M = TypeVar("M", bound="Message")


class Message:
    """A message; keyword arguments set fields, and unknown names are rejected.

    Two messages are equal if their bytes would be.  `repr` shows no bytes, since they may be a
    password.
    """

    FIELDS: ClassVar[dict[int, Field]] = {}
    NAMES: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls) -> None:
        found = [each for each in vars(cls).values() if isinstance(each, Field)]
        cls.NAMES = {field.name: field for field in found}
        cls.FIELDS = {field.number: field for field in found}

    def __init__(self, **values: Any) -> None:
        self._unknown = b""
        for name, value in values.items():
            if name not in self.NAMES:
                raise TypeError(f"{type(self).__name__} has no field {name}")
            setattr(self, name, value)

    def has(self, name: str) -> bool:
        """Whether the field was set; for a repeated one, whether it is not empty."""
        value = self.__dict__.get(name)
        return value is not None and (not self.NAMES[name].repeated or bool(value))

    def encode(self) -> bytes:
        """The message as bytes.

        Raises:
            CodecError: a required field is missing, or a value does not fit its field.
        """
        out: list[bytes] = []
        for name, field in self.NAMES.items():
            if not self.has(name):
                if field.required:
                    raise CodecError(f"{type(self).__name__} needs {name}")
                continue
            value = self.__dict__[name]
            out += map(field.encode, value) if field.repeated else [field.encode(value)]
        return b"".join(out) + self._unknown

    @classmethod
    def decode(cls: type[M], data: bytes | memoryview) -> M:
        """Parse what `encode` wrote.

        Raises:
            CodecError: the bytes are not such a message.
        """
        found = cls()
        found._read_all(memoryview(data))
        return found

    def _read_all(self, data: memoryview) -> None:
        at = 0
        while at < len(data):
            begin = at
            key, at = decode_varint(data, at)
            raw, at = read_raw(data, at, key & 7)
            field = self.FIELDS.get(key >> 3)
            if field is None:
                self._unknown += bytes(data[begin:at])
            else:
                self._read_field(field, raw, key & 7)

    def _read_field(self, field: Field, raw: Any, wire_type: int) -> None:
        if field.kind.wire_type == wire_type:
            self._put(field, field.kind.decode(raw))
        elif field.repeated and field.kind.wire_type == VARINT and wire_type == DELIMITED:
            at = 0  # packed numbers in one value
            while at < len(raw):
                number, at = decode_varint(raw, at)
                self._put(field, field.kind.decode(number))
        else:
            raise CodecError(f"{type(self).__name__}.{field.name} has wire type {wire_type}")

    def _put(self, field: Field, value: Any) -> None:
        if field.repeated:
            getattr(self, field.name).append(value)
        else:
            setattr(self, field.name, value)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Message)
            and type(self) is type(other)
            and self.encode() == other.encode()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={_shown(getattr(self, name))}" for name in self.NAMES if self.has(name)
        )
        return f"{type(self).__name__}({shown})"


def _shown(value: Any) -> str:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else repr(value)


def delimited(message: Message) -> bytes:
    """The message, preceded by its length."""
    data = message.encode()
    return encode_varint(len(data)) + data


def read_delimited(cls: type[M], data: bytes | memoryview, at: int = 0) -> tuple[M, int]:
    """What `delimited` wrote at `at`, and the position after it.

    Raises:
        CodecError: there is no such message.
    """
    size, begin = decode_varint(data, at)
    if begin + size > len(data):
        raise CodecError("a message is cut off")
    return cls.decode(memoryview(data)[begin : begin + size]), begin + size
