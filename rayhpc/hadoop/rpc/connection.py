"""A connection to one protocol of one server.

Used by the services (`failover`, `node_manager`).  Knows neither other servers nor retries.
"""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import TypeVar

from rayhpc.hadoop.messages.rpc import (
    IpcConnectionContextProto,
    RequestHeaderProto,
    UserInformationProto,
)
from rayhpc.hadoop.protobuf import Message, delimited
from rayhpc.hadoop.rpc.frames import CONTEXT_CALL, Frames
from rayhpc.hadoop.rpc.sasl import authenticate
from rayhpc.hadoop.tokens import Token

M = TypeVar("M", bound=Message)

_VERSION = 9
_NO_AUTH, _SASL_AUTH = 0x00, 0xDF
_TIMEOUT_S = 30.0


class Connection:
    """Calls of one protocol, one at a time; threads wait for each other.

    After OSError (which AuthenticationError is) it is unusable; after RemoteError it stays usable.

    Args:
        address: host and port.
        protocol: the full name of the Java interface.
        token: our identity; None: `user`, unproved (SIMPLE).
        user: on whose behalf, without a token.
        timeout_s: how long one step may take, in seconds.

    Raises:
        OSError: the server cannot be reached.
        AuthenticationError: it does not accept our token, or is not who it should be.
        RemoteError: it refuses with an exception.
    """

    def __init__(
        self,
        address: tuple[str, int],
        protocol: str,
        *,
        token: Token | None = None,
        user: str | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._protocol = protocol
        self._lock = threading.Lock()
        self._calls = 0
        self.protection: str | None = None
        self._socket = socket.create_connection(address, timeout_s)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open(token, user)
        except BaseException:
            self.close()
            raise

    def call(self, method: str, request: Message, answer: type[M]) -> M:
        """Call `method` and return its answer.

        Raises:
            RemoteError: the server answers with an exception.
            OSError: the connection is lost; whether the call was made is unknown.
        """
        header = RequestHeaderProto(
            methodName=method, declaringClassProtocolName=self._protocol, clientProtocolVersion=1
        )
        with self._lock:
            self._calls += 1
            try:
                self._frames.send(self._calls, delimited(header) + delimited(request))
                return self._frames.receive_answer_to(self._calls, answer)
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        """Close it; the server notices."""
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, token: Token | None, user: str | None) -> None:
        self._frames = Frames(self._socket)
        method = _SASL_AUTH if token else _NO_AUTH
        self._socket.sendall(b"hrpc" + bytes([_VERSION, 0, method]))
        context = IpcConnectionContextProto(protocol=self._protocol)
        if token is None:
            context.userInfo = UserInformationProto(effectiveUser=user)
        else:
            digest = authenticate(self._frames, token)
            self.protection = digest.protection
            self._frames.protection = digest if digest.wraps else None
        self._frames.send(CONTEXT_CALL, delimited(context))
