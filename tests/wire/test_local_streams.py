"""Stream sockets of one node: frames however they are cut; peers that are slow, full or gone."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.wire import codec, local_streams
from rayhpc.wire.address import make_address
from rayhpc.wire.local_streams import LocalStreams
from rayhpc.wire.messages.leases import Leaving
from tests.wire.helpers import poll_until

ONE, TWO, THREE = (make_address(5, x) for x in (1, 2, 3))


class Party:
    """One process's streams, what it has read, and what it has given to the raylet."""

    def __init__(self, folder: Path, me: int) -> None:
        self.me = me
        self.ready: deque[bytes] = deque()
        self.relayed: list[bytes] = []
        path_of = lambda address: str(folder / f"{address:x}")  # noqa: E731
        self.path = path_of(me)
        self.epoll = select.epoll()
        self.fd = self.epoll.fileno()
        self.streams = LocalStreams(me, path_of, self._relay, self.ready, self.epoll)

    def read(self) -> None:
        """Read everything that has arrived."""
        self.streams.listen_again()
        for fd, events in self.epoll.poll(0):
            assert self.streams.serve(fd, events)

    def _relay(self, _: int, frame: bytes) -> bool:
        self.relayed.append(frame)
        return True

    def send(self, to: int, text: str) -> bool:
        return self.streams.send(to, codec.encode(to, self.me, Leaving(text)))

    def texts(self, frames: deque[bytes] | list[bytes] | None = None) -> list[str]:
        decode = codec.Decoder([Leaving])
        return [decode(x).reason for x in (self.ready if frames is None else frames)]

    def expect(self, texts: list[str]) -> None:
        enough = lambda: len(self.ready) >= len(texts)  # noqa: E731
        assert poll_until(enough, [self.fd], self.read)
        assert self.texts() == texts
        self.ready.clear()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Party, Party]]:
    """Two processes."""
    one, two = Party(tmp_path, ONE), Party(tmp_path, TWO)
    yield one, two
    one.streams.close(0.0)
    two.streams.close(0.0)


def dialled(party: Party) -> socket.socket:
    """A connection made by hand."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(party.path)
    return sock


def with_length(frame: bytes) -> bytes:
    return len(frame).to_bytes(4, "big") + frame


@pytest.mark.parametrize("length", [0, 15, 2**32 - 1])
def test_who_sends_no_frames_is_disconnected(pair: tuple[Party, Party], length: int) -> None:
    one, two = pair
    with dialled(one) as stranger:
        stranger.sendall(length.to_bytes(4, "big") + bytes(40))
        one.read()
        assert not one.streams._streams
    two.send(ONE, "still here")
    one.expect(["still here"])


def test_what_the_kernel_does_not_take_follows_in_order(pair: tuple[Party, Party]) -> None:
    one, two = pair
    texts = [str(x) * 300_000 for x in range(9)]
    for text in texts:
        assert one.send(TWO, text)
    (stream,) = one.streams._streams.values()
    assert stream.unsent

    def turn() -> None:
        one.read()
        two.read()

    both = [one.fd, two.fd]
    assert poll_until(lambda: len(two.ready) == 9, both, turn)
    assert two.texts() == texts
    assert not stream.unsent


def test_what_is_left_when_a_process_leaves_goes_out(tmp_path: Path) -> None:
    one, two = Party(tmp_path, ONE), Party(tmp_path, TWO)
    text = "x" * 3_000_000
    one.send(TWO, text)
    if not (pid := os.fork()):
        two.expect([text])
        os._exit(0)
    one.streams.close(10.0)
    assert os.waitpid(pid, 0)[1] == 0
    two.streams.close(0.0)


def test_both_may_dial_at_the_same_time(pair: tuple[Party, Party]) -> None:
    one, two = pair
    for text in ("1", "2"):
        one.send(TWO, text)
        two.send(ONE, text)
    one.expect(["1", "2"])
    two.expect(["1", "2"])
    one.send(TWO, "3")
    two.expect(["3"])
    one.streams.forget(TWO)
    assert not one.streams._streams


def test_one_whose_queue_is_full_is_reached_through_the_raylet_for_good(
    pair: tuple[Party, Party],
) -> None:
    one, two = pair
    two.streams._listener.listen(0)
    with dialled(two):
        for text in ("1", "2"):
            assert one.send(TWO, text)
        two.read()
        assert one.send(TWO, "3")
        # Its answers come over a connection, which is not used for ours: they would overtake.
        two.send(ONE, "answer")
        one.expect(["answer"])
        assert one.send(TWO, "4")
    assert one.texts(one.relayed) == ["1", "2", "3", "4"]


def test_without_descriptors_a_connection_waits(
    pair: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    one.send(TWO, "hello")

    class Full:
        def accept(self) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    listener = two.streams._listener
    monkeypatch.setattr(two.streams, "_listener", Full())
    two.read()
    assert not two.ready
    monkeypatch.setattr(two.streams, "_listener", listener)
    assert not two.streams._epoll.poll(0)
    assert two.streams.is_full
    two.streams.listen_again()
    two.expect(["hello"])


def test_other_users_are_not_listened_to(
    pair: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    assert os.stat(one.path).st_mode & 0o777 == 0o600
    monkeypatch.setattr(local_streams, "peer_of", lambda _: (1, os.geteuid() + 1))
    two.send(ONE, "let me in")
    one.read()
    assert not one.ready
    assert not one.streams._streams


def test_the_last_words_of_one_that_was_killed_are_read_at_once(tmp_path: Path) -> None:
    one = Party(tmp_path, ONE)
    if not (pid := os.fork()):
        two = Party(tmp_path, TWO)
        for number in range(100):
            two.send(ONE, str(number))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    # One turn: the raylet's news of its death may have come already.
    one.read()
    assert one.texts() == [str(x) for x in range(100)]
    one.streams.close(0.0)


def test_a_forked_child_keeps_no_connection_open(pair: tuple[Party, Party]) -> None:
    one, two = pair
    one.send(TWO, "hello")
    two.expect(["hello"])
    read, write = os.pipe()
    if not (pid := os.fork()):
        os.read(read, 1)
        os._exit(0)
    one.streams.forget(TWO)
    one.read()
    assert not one.streams._streams
    assert not one.streams._epoll.poll(0)
    os.write(write, b"!")
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)


def test_nobody_listens_there(pair: tuple[Party, Party]) -> None:
    one, _ = pair
    assert not one.send(THREE, "too early")
    assert not one.relayed
