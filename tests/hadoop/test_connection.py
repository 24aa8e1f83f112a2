"""One connection, against a server that speaks the protocol and against bytes that do not."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayhpc.hadoop.errors import AuthenticationError, HadoopError, RemoteError
from rayhpc.hadoop.messages.records import StringStringMapProto
from rayhpc.hadoop.rpc.connection import Connection
from rayhpc.hadoop.rpc.digest_md5 import DigestMd5
from rayhpc.hadoop.tokens import Token
from tests.hadoop.rpc_server import Caller, RpcServer

PROTOCOL = "org.example.EchoProtocolPB"
TOKEN = Token(b"who", b"secret", "K")


def echo(caller: Caller, body: bytes) -> StringStringMapProto:
    said = StringStringMapProto.decode(body)
    if said.key == "fail":
        raise RemoteError("org.example.OddException", "odd\n\tat java")
    return StringStringMapProto(key=caller.user or caller.identifier.decode(), value=said.value)


@contextlib.contextmanager
def serving(server: RpcServer) -> Iterator[RpcServer]:
    try:
        yield server
    finally:
        server.close()


def with_tokens(**options: object) -> RpcServer:
    return RpcServer({"echo": echo}, {b"who": b"secret"}.get, **options)  # type: ignore[arg-type]


def ask(connection: Connection, value: str, key: str = "") -> StringStringMapProto:
    return connection.call("echo", StringStringMapProto(key=key, value=value), StringStringMapProto)


def test_simple_takes_our_word() -> None:
    with (
        serving(RpcServer({"echo": echo})) as server,
        Connection(server.address, PROTOCOL, user="alice") as connection,
    ):
        assert ask(connection, "hello").key == "alice"
        assert connection.protection is None
        with pytest.raises(RemoteError, match="^OddException: odd$") as caught:
            ask(connection, "", "fail")
        assert caught.value.name == "OddException"
        assert "at java" in caught.value.message
        assert ask(connection, "still there").value == "still there"


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("protection", ["auth", "auth-int", "auth-conf"])
def test_a_token_at_every_level(protection: str, at_once: bool) -> None:
    with (
        serving(with_tokens(protection=protection, challenge_at_once=at_once)) as server,
        Connection(server.address, PROTOCOL, token=TOKEN) as connection,
    ):
        assert connection.protection == protection
        # More than one wrapped message may carry.
        for size in (0, 1, 70_000, 200_000):
            answer = ask(connection, "x" * size)
            assert (answer.key, len(answer.value)) == ("who", size)


def test_a_wrong_token_is_refused() -> None:
    with serving(with_tokens()) as server:
        for wrong in (Token(b"who", b"guess", "K"), Token(b"nobody", b"secret", "K")):
            with pytest.raises(RemoteError, match="InvalidToken"):
                Connection(server.address, PROTOCOL, token=wrong)


def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    digest = DigestMd5(b'nonce="n",qop="auth"', "who", "secret", "/default")
    with pytest.raises(AuthenticationError, match="does not know our token's password"):
        digest.check(b"rspauth=00000000000000000000000000000000")


@pytest.mark.parametrize(
    ("challenge", "says"),
    [
        (b'qop="auth"', "no nonce"),
        (b'nonce="n",qop="auth-new"', "no known protection"),
        (b'nonce="n",qop="auth-conf",cipher="3des,des"', "rc4 alone"),
        (b'nonce="n",qop="auth",maxbuf=9', "maxbuf='9'"),
        (b"\xff\xfe", "is no text"),
    ],
)
def test_challenges_that_we_cannot_meet(challenge: bytes, says: str) -> None:
    with pytest.raises(AuthenticationError, match=says):
        DigestMd5(challenge, "u", "p", "/default")


@given(st.binary(max_size=100), st.integers(0, 10**6))
def test_altered_messages_are_refused(data: bytes, at: int) -> None:
    digest = DigestMd5(b'nonce="n",qop="auth-conf",cipher="rc4"', "u", "p", "/default")
    wrapped = bytearray(digest.wrap(data))
    wrapped[at % len(wrapped)] ^= 1
    with pytest.raises(AuthenticationError):
        digest.unwrap(bytes(wrapped))


@contextlib.contextmanager
def saying(noise: bytes) -> Iterator[tuple[str, int]]:
    """A server that says `noise` to whoever comes, and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(noise)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[:2]
    thread.join(60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=80), st.booleans(), st.booleans())
def test_noise_is_an_error_of_ours(noise: bytes, framed: bool, with_token: bool) -> None:
    if framed:
        noise = struct.pack(">I", len(noise)) + noise
    token = TOKEN if with_token else None
    with (
        saying(noise) as address,
        pytest.raises((OSError, HadoopError)),
        Connection(address, PROTOCOL, token=token, timeout_s=5.0) as connection,
    ):
        ask(connection, "x")


def test_a_web_server_is_told_from_hadoop() -> None:
    with (
        saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address,
        Connection(address, PROTOCOL, user="u") as connection,
        pytest.raises(ConnectionError, match="this is not a Hadoop RPC server"),
    ):
        ask(connection, "x")


def test_a_server_that_takes_no_tokens_is_told_from_one_that_refuses_ours() -> None:
    with (
        serving(with_tokens()) as server,
        pytest.raises((RemoteError, OSError)),
        Connection(server.address, PROTOCOL, user="alice") as connection,
    ):
        ask(connection, "x")
