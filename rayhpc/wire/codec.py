"""Frames: encodes a message into the single frame that crosses a socket, and decodes it.

Used by `transport.py` and by the processes' dispatch loops.  Never touches a socket and never
unpickles: a frame is 16 bytes of destination and source address, then one msgpack array whose
first element is the message's tag (`messages.py`).  Raylets forward frames by their first 16
bytes without decoding the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rayhpc.wire.address import Address

HEADER_BYTES = 16
# msgpack's first bytes of an array of 16 parts or more, and of integers; up to _FIXINT_END a byte
# is the integer itself.
_ARRAY_16, _UINT_8, _UINT_16, _FIXINT_END = 0xDC, 0xCC, 0xCD, 0x80

_encoder = msgspec.msgpack.Encoder()


def encode(destination: Address, source: Address, message: msgspec.Struct) -> bytes:
    """The frame that carries `message` from `source` to `destination`."""
    header = destination << 64 | source
    return header.to_bytes(HEADER_BYTES, "big") + _encoder.encode(message)


def destination_of(frame: bytes) -> Address:
    """The destination of a frame."""
    return int.from_bytes(frame[:8], "big")


def source_of(frame: bytes) -> Address:
    """The process that created a frame."""
    return int.from_bytes(frame[8:16], "big")


def kind_of(frame: bytes) -> int:
    """The number of a frame's kind of message (its tag), read without decoding it; -1: none."""
    # An array's header (one byte, or three from 16 parts on), then an integer.
    try:
        at = HEADER_BYTES + (3 if frame[HEADER_BYTES] == _ARRAY_16 else 1)
        first = frame[at]
        if first == _UINT_8:
            return frame[at + 1]
        if first == _UINT_16:
            return int.from_bytes(frame[at + 1 : at + 3], "big")
    except IndexError:
        return -1
    return first if first < _FIXINT_END else -1


class Decoder:
    """Decodes the frames that one role accepts, and rejects every other message.

    Args:
        messages: the message types the role accepts.
    """

    def __init__(self, messages: Iterable[type[msgspec.Struct]]) -> None:
        union: Any = None
        for kind in messages:
            union = kind if union is None else union | kind
        self._decode = msgspec.msgpack.Decoder(union).decode

    def __call__(self, frame: bytes) -> Any:
        """The message in a frame.

        Raises:
            msgspec.DecodeError: not msgpack.
            msgspec.ValidationError: not a message that this role accepts, or malformed.
        """
        return self._decode(memoryview(frame)[HEADER_BYTES:])
