"""Bytes of any kind for every parser of this package: refused or read, never more."""

from __future__ import annotations

import mmap
import socket
import struct
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayhpc.wire import bootstrap, codec, keys, messages, runs
from rayhpc.wire.messages.task_runs import RunPage
from rayhpc.wire.slots import SLOT_BYTES, SlotTable
from rayhpc.wire.zap import Zap

from . import fuzzing

TAKES = (messages.HEAD_TAKES, messages.RAYLET_TAKES, messages.PROCESS_TAKES)
DECODERS = [codec.Decoder(x) for x in TAKES]
_LENGTH = struct.Struct(">I")


@given(st.binary(max_size=200))
def test_a_frame_is_a_message_or_refused(frame: bytes) -> None:
    codec.destination_of(frame)
    codec.source_of(frame)
    for decode in DECODERS:
        with pytest.raises(msgspec.DecodeError):  # no random bytes have hit a message yet
            decode(frame)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_message_with_a_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 2))
    message = data.draw(fuzzing.messages(TAKES[number]))
    frame = bytearray(codec.encode(1, 2, message))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        DECODERS[number](bytes(frame))
    except msgspec.DecodeError:
        pass


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_a_hello_is_one_or_the_connection_ends(pieces: list[bytes]) -> None:
    mine, its = socket.socketpair()
    with mine, its:
        mine.setblocking(False)
        connection = bootstrap.Connection(mine, 1)
        for piece in pieces:
            its.sendall(piece)
            if not connection.read():
                break
        hello = connection.hello
        assert hello is None or isinstance(hello, dict)


@pytest.mark.parametrize("length", [2**32 - 1, bootstrap.HELLO_MAX + 1])
def test_a_hello_or_reply_that_claims_to_be_endless_is_refused_at_once(length: int) -> None:
    mine, its = socket.socketpair()
    with mine, its:
        mine.setblocking(False)
        its.sendall(_LENGTH.pack(length))
        assert not bootstrap.Connection(mine, 1).read()
    mine, its = socket.socketpair()
    with mine, its:
        its.sendall(_LENGTH.pack(length) + b"x")
        with pytest.raises(bootstrap.AttachError, match="not a raylet"):
            bootstrap._receive_reply(mine, [], time.monotonic() + 60)


@given(st.binary(max_size=100))
def test_a_reply_is_one_or_an_error(data: bytes) -> None:
    mine, its = socket.socketpair()
    with mine, its:
        its.sendall(_LENGTH.pack(len(data)) + data)
        its.shutdown(socket.SHUT_WR)
        try:
            assert isinstance(bootstrap._receive_reply(mine, [], time.monotonic() + 60), dict)
        except (bootstrap.AttachError, ConnectionError):
            pass


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda x: x.encode()))
def test_a_key_file_is_one_or_an_error(data: bytes) -> None:
    with pytest.raises(keys.KeyFileError):
        keys.decode(data, "a test")


@given(st.binary(min_size=64, max_size=600))
@settings(deadline=None)
def test_a_slot_that_user_code_has_written_over_is_read(data: bytes) -> None:
    table = SlotTable.create(1)
    try:
        with mmap.mmap(table.fd, SLOT_BYTES) as memory:
            memory[: len(data)] = data
        started, results = table.read(0)
        assert len(started) <= 32
        assert sum(len(x) for x in results) <= SLOT_BYTES
    finally:
        table.close()


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_runs_that_are_none_are_left_out(chunks: list[bytes]) -> None:
    list(runs.unpack([RunPage(chunks)]))


@given(st.lists(st.binary(max_size=60), max_size=9))
def test_zap_answers_every_question(parts: list[bytes]) -> None:
    zap = Zap.__new__(Zap)
    zap._allowed = {}
    zap._now = lambda: 0.0
    zap._quiet_until, zap._unsaid, zap.refused = 1.0, 0, 0
    answer = zap._answer(parts)
    assert answer[2] == b"400"
    assert len(answer) == 6
