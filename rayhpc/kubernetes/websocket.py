"""WebSocket frames (RFC 6455), as far as Kubernetes' channels need them.

Used by `exec`, and by the lab's kubelet for the other side.  Knows no handshake and no socket.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from collections.abc import Callable

BINARY, CLOSE, PING, PONG = 0x2, 0x8, 0x9, 0xA
_FINAL, _MASKED = 0x80, 0x80
_MOST = 64 << 20
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Read = Callable[[int], bytes]


def accept_of(key: str) -> str:
    """What a server answers to a client's key, by which both know that they mean this protocol."""
    return base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()


def frame(kind: int, data: bytes, *, masked: bool) -> bytes:
    """One whole message; a client's are masked."""
    size, mark = len(data), _MASKED if masked else 0
    if size < 126:
        head = bytes([_FINAL | kind, mark | size])
    elif size < 1 << 16:
        head = bytes([_FINAL | kind, mark | 126]) + struct.pack(">H", size)
    else:
        head = bytes([_FINAL | kind, mark | 127]) + struct.pack(">Q", size)
    if not masked:
        return head + data
    mask = os.urandom(4)
    return head + mask + _apply(mask, data)


def read_message(read: Read) -> tuple[int, bytes]:
    """The next message, or control frame.

    Args:
        read: returns that many bytes, fewer at the end.

    Raises:
        EOFError: the other side has gone.
        ValueError: this is no WebSocket.
    """
    kind, data = 0, b""
    while True:
        first, second = _exactly(read, 2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", _exactly(read, 2))
        elif size == 127:
            (size,) = struct.unpack(">Q", _exactly(read, 8))
        if size + len(data) > _MOST:
            raise ValueError("a message that large is none of Kubernetes'")
        mask = _exactly(read, 4) if second & _MASKED else b""
        part = _exactly(read, size)
        part = _apply(mask, part) if mask else part
        code = first & 0x0F
        if code >= CLOSE:
            return code, part
        kind, data = code or kind, data + part
        if first & _FINAL:
            return kind, data


def _apply(mask: bytes, data: bytes) -> bytes:
    size = len(data)
    whole = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(size, "big")


def _exactly(read: Read, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = read(size - len(found))
        if not part:
            raise EOFError("the connection has ended")
        found += part
    return found
