"""Commands in pods, over WebSocket channels; and the frames that they are made of."""

from __future__ import annotations

import io

import pytest

from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.errors import ApiError, UnreachableError
from rayhpc.kubernetes.exec import STDERR, STDOUT, run_in_pod
from rayhpc.kubernetes.objects import JOB
from rayhpc.kubernetes.websocket import BINARY, CLOSE, PING, frame, read_message
from tests.kubernetes.fake.server import FakeApi
from tests.kubernetes.test_client import job


@pytest.fixture
def pod(api: FakeApi, client: Client) -> str:
    client.create(JOB, job("a"))
    return str(api.pod_of("a")["metadata"]["name"])


def test_both_streams_and_the_exit_code(client: Client, pod: str) -> None:
    taken = {STDOUT: b"", STDERR: b""}

    def take(channel: int, piece: bytes) -> None:
        taken[channel] += piece

    code = run_in_pod(client, pod, ["sh", "-c", "echo out; echo err >&2; exit 7"], take=take)
    assert code == 7
    assert taken == {STDOUT: b"out\n", STDERR: b"err\n"}
    assert run_in_pod(client, pod, ["true"]) == 0


def test_what_goes_in_comes_out(client: Client, pod: str) -> None:
    data = bytes(range(256)) * 1000
    taken = bytearray()
    command = ["head", "-c", str(len(data))]
    assert run_in_pod(client, pod, command, data, lambda _, piece: taken.extend(piece)) == 0
    assert bytes(taken) == data


def test_a_command_that_is_killed(client: Client, pod: str) -> None:
    assert run_in_pod(client, pod, ["sh", "-c", "kill -9 $$"]) == 137


def test_no_such_pod(client: Client) -> None:
    with pytest.raises(ApiError, match='"b" not found'):
        run_in_pod(client, "b", ["true"])


def test_a_server_that_is_away(api: FakeApi, client: Client, pod: str) -> None:
    api.stop()
    with pytest.raises(UnreachableError, match="refused"):
        run_in_pod(client, pod, ["true"])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
@pytest.mark.parametrize("masked", [True, False])
def test_a_message_of_any_size(size: int, masked: bool) -> None:
    data = bytes(size)
    stream = io.BytesIO(frame(BINARY, data, masked=masked))
    assert read_message(stream.read) == (BINARY, data)
    assert stream.read() == b""


def test_a_message_in_pieces_and_what_comes_between() -> None:
    first = bytearray(frame(BINARY, b"ab", masked=False))
    first[0] &= 0x7F  # not the last piece
    last = bytearray(frame(BINARY, b"cd", masked=False))
    last[0] &= 0xF0  # a continuation
    stream = io.BytesIO(bytes(first + last) + frame(PING, b"p", masked=False))
    assert read_message(stream.read) == (BINARY, b"abcd")
    assert read_message(stream.read) == (PING, b"p")
    with pytest.raises(EOFError):
        read_message(stream.read)


def test_a_size_that_is_none() -> None:
    with pytest.raises(ValueError, match="none of Kubernetes'"):
        read_message(io.BytesIO(b"\x82\x7f" + b"\xff" * 8).read)
    assert read_message(io.BytesIO(frame(CLOSE, b"", masked=False)).read) == (CLOSE, b"")
