"""The server's side of Hadoop RPC, for tests: SIMPLE, and tokens by DIGEST-MD5 at all levels.

Used by the tests of the connection and by the fake YARN (`tests/yarn/fake`).  Written from the
protocol, not from the client: both sides meet Hadoop's own in `test_lab.py`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.messages.rpc import (
    IpcConnectionContextProto,
    RequestHeaderProto,
    RpcRequestHeaderProto,
    RpcResponseHeaderProto,
    RpcSaslProto,
    RpcStatusProto,
    SaslAuth,
    SaslState,
)
from rayhpc.hadoop.protobuf import Message, delimited, read_delimited
from rayhpc.hadoop.protobuf.wire_format import decode_varint
from rayhpc.hadoop.rpc.frames import CONTEXT_CALL, SASL_CALL
from rayhpc.hadoop.rpc.rc4 import RC4

INVALID_TOKEN = "org.apache.hadoop.security.token.SecretManager$InvalidToken"
NO_METHOD = "org.apache.hadoop.ipc.RpcNoSuchMethodException"

# What serves a method: who calls (user, or the token's identifier), and the request's bytes.
Method = Callable[["Caller", bytes], Message]


@dataclass(frozen=True)
class Caller:
    """Who calls: a user by its word, or the identifier of a token."""

    user: str
    identifier: bytes = b""


@dataclass
class RpcServer:
    """Serves methods on a loopback address until `close`.

    `passwords` gives the password of a token's identifier, None for a stranger's; with it set,
    nobody is served without a token.
    """

    methods: dict[str, Method]
    passwords: Callable[[bytes], bytes | None] | None = None
    protection: str = "auth"
    challenge_at_once: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    maxbuf: int = 65536
    _open: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server((self.host, self.port))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and cut all connections, as a server that dies."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            Conversation(self, connection).run()
        self._open.remove(connection)
        connection.close()


class Conversation:
    """One connection."""

    def __init__(self, server: RpcServer, connection: socket.socket) -> None:
        self._server, self._socket = server, connection
        self._stream = b""
        self._sasl: ServerDigest | None = None
        self._caller = Caller("")

    def run(self) -> None:
        preamble = self._read(7)
        assert preamble[:6] == b"hrpc\x09\x00", preamble
        if preamble[6] == 0xDF:
            identifier = self._authenticate()
            if identifier is None:
                return
            self._caller = Caller("", identifier)
        elif self._server.passwords is not None:
            self._answer_error(-1, "org.apache.hadoop.security.AccessControlException", "SIMPLE")
            return
        header, rest = self._receive()
        assert header.callId == CONTEXT_CALL
        context, _ = read_delimited(IpcConnectionContextProto, rest)
        if context.userInfo is not None:
            self._caller = Caller(context.userInfo.effectiveUser)
        while True:
            self._one_call(*self._receive())

    def _one_call(self, header: RpcRequestHeaderProto, rest: bytes) -> None:
        request, at = read_delimited(RequestHeaderProto, rest)
        length, at = decode_varint(rest, at)
        body = rest[at : at + length]
        method = self._server.methods.get(request.methodName)
        try:
            if method is None:
                raise RemoteError(NO_METHOD, request.methodName)
            answer = method(self._caller, body)
        except RemoteError as error:
            self._answer_error(header.callId, error.java_class, error.message)
            return
        self._send(_success(header.callId) + delimited(answer))

    # -- authentication
    def _authenticate(self) -> bytes | None:
        _, rest = self._receive()
        assert read_delimited(RpcSaslProto, rest)[0].state == SaslState.NEGOTIATE
        digest = ServerDigest(self._server.protection, self._server.maxbuf)
        auth = SaslAuth(method="TOKEN", mechanism="DIGEST-MD5", protocol="", serverId="default")
        if self._server.challenge_at_once:
            auth.challenge = digest.challenge
        self._send_sasl(RpcSaslProto(state=SaslState.NEGOTIATE, auths=[auth]))
        message = self._receive_sasl()
        if not self._server.challenge_at_once:
            assert message.state == SaslState.INITIATE
            self._send_sasl(RpcSaslProto(state=SaslState.CHALLENGE, token=digest.challenge))
            message = self._receive_sasl()
        identifier = digest.identifier(message.token)
        passwords = self._server.passwords
        password = passwords(identifier) if passwords else None
        if password is None or not digest.check(message.token, password):
            self._answer_error(SASL_CALL, INVALID_TOKEN, "token is not ours", fatal=True)
            return None
        self._send_sasl(RpcSaslProto(state=SaslState.SUCCESS, token=digest.proof))
        self._sasl = digest if self._server.protection != "auth" else None
        return identifier

    def _send_sasl(self, message: RpcSaslProto) -> None:
        self._send(_success(SASL_CALL) + delimited(message), wrap=False)

    def _receive_sasl(self) -> RpcSaslProto:
        return read_delimited(RpcSaslProto, self._receive()[1])[0]

    # -- frames
    def _answer_error(self, call: int, name: str, text: str, fatal: bool = False) -> None:
        header = RpcResponseHeaderProto(
            callId=call & 0xFFFFFFFF,
            status=RpcStatusProto.FATAL if fatal else RpcStatusProto.ERROR,
            exceptionClassName=name,
            errorMsg=text,
        )
        self._send(delimited(header))

    def _send(self, frame: bytes, wrap: bool = True) -> None:
        frame = struct.pack(">I", len(frame)) + frame
        if self._sasl is None or not wrap:
            self._socket.sendall(frame)
            return
        for begin in range(0, len(frame), 60000):
            part = self._sasl.wrap(frame[begin : begin + 60000])
            self._send_sasl(RpcSaslProto(state=SaslState.WRAP, token=part))

    def _receive(self) -> tuple[RpcRequestHeaderProto, bytes]:
        if self._sasl is None:
            frame = self._read(int.from_bytes(self._read(4), "big"))
        else:
            frame = self._unwrapped(int.from_bytes(self._unwrapped(4), "big"))
        header, at = read_delimited(RpcRequestHeaderProto, frame)
        return header, frame[at:]

    def _unwrapped(self, size: int) -> bytes:
        assert self._sasl is not None
        while len(self._stream) < size:
            frame = self._read(int.from_bytes(self._read(4), "big"))
            assert len(frame) < self._server.maxbuf + 200, "a wrapped message beyond maxbuf"
            _, at = read_delimited(RpcRequestHeaderProto, frame)
            self._stream += self._sasl.unwrap(read_delimited(RpcSaslProto, frame, at)[0].token)
        data, self._stream = self._stream[:size], self._stream[size:]
        return data

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data


class ServerDigest:
    """RFC 2831 from the server's side."""

    def __init__(self, protection: str, maxbuf: int) -> None:
        self._protection = protection
        self._nonce = base64.b64encode(os.urandom(16)).decode()
        self.challenge = (
            f'realm="default",nonce="{self._nonce}",qop="{protection}",charset=utf-8,'
            f'cipher="3des,rc4",maxbuf={maxbuf},algorithm=md5-sess'
        ).encode()
        self.proof = b""
        self._sent = self._received = 0

    @staticmethod
    def _pairs(response: bytes) -> dict[str, str]:
        pairs = (each.partition("=") for each in response.decode().split(","))
        return {name: value.strip('"') for name, _, value in pairs}

    def identifier(self, response: bytes) -> bytes:
        return base64.b64decode(self._pairs(response)["username"])

    def check(self, response: bytes, password: bytes) -> bool:
        """Whether the client knows the password; makes the proof that we do, and the keys."""
        said = self._pairs(response)
        assert said["nonce"] == self._nonce
        assert said["qop"] == self._protection
        words = f"{said['username']}:{said['realm']}:{base64.b64encode(password).decode()}"
        tail = f":{said['nonce']}:{said['cnonce']}".encode()
        secret = _md5(_md5(words.encode()) + tail)
        entity = "" if self._protection == "auth" else f":{'0' * 32}"

        def digest(method: str) -> str:
            second = _md5(f"{method}:{said['digest-uri']}{entity}".encode()).hex()
            middle = f"{said['nonce']}:00000001:{said['cnonce']}:{said['qop']}"
            return _md5(f"{secret.hex()}:{middle}:{second}".encode()).hex()

        self.proof = f"rspauth={digest('')}".encode()
        sign = b"Digest session key to %s signing key magic constant"
        self._out_key = _md5(secret + sign % b"server-to-client")
        self._in_key = _md5(secret + sign % b"client-to-server")
        self._out = self._in = None
        if self._protection == "auth-conf":
            seal = b"Digest H(A1) to %s sealing key magic constant"
            self._out = RC4(_md5(secret + seal % b"server-to-client"))
            self._in = RC4(_md5(secret + seal % b"client-to-server"))
        return hmac.compare_digest(said["response"], digest("AUTHENTICATE"))

    def wrap(self, data: bytes) -> bytes:
        body = data + _mac(self._out_key, self._sent, data)
        body = self._out.crypt(body) if self._out else body
        self._sent += 1
        return body + b"\0\1" + struct.pack(">I", self._sent - 1)

    def unwrap(self, data: bytes) -> bytes:
        body = self._in.crypt(data[:-6]) if self._in else data[:-6]
        assert data[-6:] == b"\0\1" + struct.pack(">I", self._received)
        assert body[-10:] == _mac(self._in_key, self._received, body[:-10])
        self._received += 1
        return body[:-10]


def _success(call: int) -> bytes:
    header = RpcResponseHeaderProto(callId=call & 0xFFFFFFFF, status=RpcStatusProto.SUCCESS)
    return delimited(header)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data).digest()


def _mac(key: bytes, number: int, data: bytes) -> bytes:
    return hmac.new(key, struct.pack(">I", number) + data, "md5").digest()[:10]
