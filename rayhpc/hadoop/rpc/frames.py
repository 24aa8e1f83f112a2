"""The frames of a connection: each has a length, a header, and what the header announces.

Used by `connection` and `sasl`.  Once both sides have agreed on integrity or privacy, the bytes of
all frames form one stream inside WRAP messages.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Protocol, TypeVar

from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.messages.rpc import (
    RpcKindProto,
    RpcRequestHeaderProto,
    RpcResponseHeaderProto,
    RpcSaslProto,
    RpcStatusProto,
    SaslState,
)
from rayhpc.hadoop.protobuf import CodecError, Message, delimited, read_delimited

M = TypeVar("M", bound=Message)

SASL_CALL, CONTEXT_CALL = -33, -3
# The same as Hadoop's ipc.maximum.response.length.
_MOST_BYTES = 128 << 20
_CHUNK = 1 << 20


class Protection(Protocol):
    """What wraps the stream: `digest_md5.DigestMd5`."""

    most_bytes: int

    def wrap(self, data: bytes) -> bytes:
        """Protect a piece."""

    def unwrap(self, data: bytes) -> bytes:
        """Check and open a piece."""


class Frames:
    """The frames of one socket.

    Every method raises OSError if the connection has become unusable, ConnectionError for bytes
    that are not a frame.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._client_id = os.urandom(16)
        self._unwrapped = b""
        self.protection: Protection | None = None

    def send(self, call: int, body: bytes) -> None:
        """Send one frame of call `call`."""
        header = RpcRequestHeaderProto(
            rpcKind=RpcKindProto.RPC_PROTOCOL_BUFFER,
            rpcOp=0,
            callId=call,
            clientId=b"" if call == SASL_CALL else self._client_id,
            retryCount=0 if call >= 0 else -1,
        )
        frame = delimited(header) + body
        frame = struct.pack(">I", len(frame)) + frame
        if self.protection is None or call == SASL_CALL:
            self._socket.sendall(frame)
            return
        step = self.protection.most_bytes
        for begin in range(0, len(frame), step):
            part = self.protection.wrap(frame[begin : begin + step])
            wrapped = RpcSaslProto(state=SaslState.WRAP, token=part)
            self.send(SASL_CALL, delimited(wrapped))

    def receive(self, cls: type[M]) -> tuple[RpcResponseHeaderProto, M]:
        """The next answer.

        Raises:
            RemoteError: it is an exception.
        """
        frame = self._next_frame()
        header, at = _parse_header(frame)
        return header, _parse(cls, frame, at)

    def receive_answer_to(self, call: int, cls: type[M]) -> M:
        """The answer to one call; leftover answers to earlier ones are skipped.

        Raises:
            RemoteError: the server answers with an exception.
        """
        while True:
            frame = self._next_frame()
            header, at = _parse_header(frame)
            if header.callId == call:
                return _parse(cls, frame, at)

    def _next_frame(self) -> bytes:
        if self.protection is None:
            return self._read_frame()
        return self._read_wrapped(_checked_size(self._read_wrapped(4)))

    def _read_wrapped(self, size: int) -> bytes:
        assert self.protection is not None
        while len(self._unwrapped) < size:
            frame = self._read_frame()
            _, at = _parse_header(frame)
            self._unwrapped += self.protection.unwrap(_parse(RpcSaslProto, frame, at).token)
        data, self._unwrapped = self._unwrapped[:size], self._unwrapped[size:]
        return data

    def _read_frame(self) -> bytes:
        return self._read(_checked_size(self._read(4)))

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self._socket.recv(min(size - len(data), _CHUNK))
            if not chunk:
                raise ConnectionError("the server closed the connection")
            data += chunk
        return bytes(data)


def _checked_size(data: bytes) -> int:
    size = int.from_bytes(data, "big")
    if size > _MOST_BYTES:
        raise ConnectionError(f"a frame of {size} bytes: this is not a Hadoop RPC server")
    return size


def _parse_header(frame: bytes) -> tuple[RpcResponseHeaderProto, int]:
    try:
        header, at = read_delimited(RpcResponseHeaderProto, frame)
    except CodecError as error:
        raise ConnectionError(f"an answer that is not Hadoop RPC ({error})") from None
    if header.status != RpcStatusProto.SUCCESS:
        raise RemoteError(header.exceptionClassName, header.errorMsg)
    return header, at


def _parse(cls: type[M], frame: bytes, at: int) -> M:
    try:
        return read_delimited(cls, frame, at)[0]
    except CodecError as error:
        raise ConnectionError(f"an answer that is not a {cls.__name__} ({error})") from None
