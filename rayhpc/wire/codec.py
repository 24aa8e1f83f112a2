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
