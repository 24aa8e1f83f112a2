"""One stream: frames however they are cut, and bytes that are none."""

from __future__ import annotations

import select
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayhpc.wire.streams import Stream

SIZES = (1, 1000)


def with_length(frame: bytes) -> bytes:
    return len(frame).to_bytes(4, "big") + frame


@given(st.data(), st.booleans())
def test_frames_arrive_whole_however_they_are_cut(data: st.DataObject, as_views: bool) -> None:
    frames = data.draw(st.lists(st.binary(min_size=1, max_size=100), min_size=1, max_size=5))
    sent = b"".join(map(with_length, frames))
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=6))
    mine, its = socket.socketpair()
    epoll = select.epoll()
    with mine, its, epoll:
        mine.setblocking(False)
        stream = Stream(mine, epoll, SIZES)
        got: list[bytes] = []
        start = 0
        for stop in [*sorted(cuts), len(sent)]:
            if stop > start:
                its.sendall(sent[start:stop])
                assert stream.read(got, as_views)
            start = stop
        assert [bytes(x) for x in got] == frames
        its.close()
        assert not stream.read(got, as_views)


@pytest.mark.parametrize("size", [0, 1001, 2**32 - 1])
def test_what_is_too_short_or_too_long_to_be_a_frame_ends_it(size: int) -> None:
    mine, its = socket.socketpair()
    epoll = select.epoll()
    with mine, its, epoll:
        mine.setblocking(False)
        stream = Stream(mine, epoll, SIZES)
        its.sendall(with_length(b"a frame") + size.to_bytes(4, "big") + bytes(10))
        got: list[bytes] = []
        assert not stream.read(got)
        assert got == [b"a frame"]
