"""Direct links over real sockets: two processes of two nodes, whose raylets pass frames on."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import x25519

from rayhpc.wire import codec, direct_links, direct_sockets, sealed_streams, sockets
from rayhpc.wire.address import make_address, node_of
from rayhpc.wire.data_plane import sealing
from rayhpc.wire.data_plane.sealing import Opener, Sealer
from rayhpc.wire.key_agreement import Secret
from rayhpc.wire.messages import PROCESS_TAKES
from rayhpc.wire.messages.windows import Credit
from rayhpc.wire.sealed_streams import SealedStream
from rayhpc.wire.transport import Transport
from tests.wire.helpers import LocalRaylet

_decode = codec.Decoder(PROCESS_TAKES)
LOCAL = "127.0.0.1"


class Raylet(LocalRaylet):
    """Passes on what is for the other node, and counts that."""

    def __init__(self, pair: Pair, node: int) -> None:
        super().__init__(str(pair.folder / str(node)), node)
        self._pair = pair
        self.relayed = 0

    def turn(self) -> None:
        for frame in self.receive():
            self.relayed += 1
            self._pair.raylets[node_of(codec.destination_of(frame))].pass_on(frame)


class Party:
    """One process."""

    def __init__(self, pair: Pair, node: int, ports: sockets.PortRange) -> None:
        self.context = zmq.Context()
        self.me = make_address(node, 1)
        folder = str(pair.folder / str(node))
        self.transport = Transport(self.context, self.me, folder, [LOCAL], ports)
        self.sockets = self.transport.sockets
        self.links = self.transport.links
        self.links.deliver = self.take
        self.troubles: list[str] = []
        self.links.on_trouble = self.troubles.append
        self.got: list[int] = []
        self.sent = 0
        self.handlers = self.links.handlers()

    def send(self, other: Party) -> None:
        """The next number."""
        self.transport._transmit(other.me, codec.encode(other.me, self.me, Credit(self.sent)))
        self.sent += 1

    def turn(self) -> None:
        for frame in self.transport.receive():
            self.take(frame)

    def take(self, frame: bytes) -> None:
        message = _decode(frame)
        if isinstance(message, Credit):
            self.got.append(message.size)
        else:
            self.handlers[type(message)](codec.source_of(frame), message)

    def close(self) -> None:
        self.transport.close()
        self.context.destroy(linger=0)


class Pair:
    """A process on each of two nodes."""

    def __init__(self, folder: Path, ports: sockets.PortRange = None) -> None:
        self.folder = folder
        for node in (5, 6):
            (folder / str(node) / "p").mkdir(parents=True)
        self.raylets = {node: Raylet(self, node) for node in (5, 6)}
        self.one, self.two = Party(self, 5, ports), Party(self, 6, ports)
        for node, party in (5, self.one), (6, self.two):
            self.raylets[node].hear(party.transport)
        self.parties: list[Raylet | Party] = [*self.raylets.values(), self.one, self.two]

    def run_until(self, done: Callable[[], bool], within_s: float = 10.0) -> None:
        """Serve everybody until `done()`."""
        deadline = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < deadline
            polled = {x: zmq.POLLIN for party in self.parties for x in party.sockets}
            zmq.zmq_poll(list(polled.items()), 1000)
            for party in self.parties:
                party.turn()

    def talk(self, count: int) -> None:
        """Both send numbers, and get all of them in order."""
        for _ in range(count):
            self.one.send(self.two)
            self.two.send(self.one)
            for party in self.parties:
                party.turn()
        self.run_until(self.has_all)
        assert self.two.got == list(range(self.one.sent))
        assert self.one.got == list(range(self.two.sent))

    def has_all(self) -> bool:
        return (len(self.two.got), len(self.one.got)) == (self.one.sent, self.two.sent)

    def link_up(self) -> None:
        self.talk(10)
        both = self.one.links, self.two.links
        self.run_until(lambda: all(x.count() == 1 for x in both))
        self.talk(1)  # after that, nothing is left with the raylets

    def has_failed(self) -> bool:
        peers = (*self.one.links._peers.values(), *self.two.links._peers.values())
        return any(x.failures for x in peers)

    def stream(self, party: Party) -> SealedStream:
        """A party's end of the link."""
        (stream,) = party.transport._direct._by_via.values()
        return stream

    def close(self) -> None:
        for party in self.parties:
            party.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.close()


def test_after_the_first_messages_nothing_passes_the_raylets(pair: Pair) -> None:
    assert not pair.one.transport._direct.descriptors()  # nothing is opened before it is needed
    pair.link_up()
    relayed = [x.relayed for x in pair.raylets.values()]
    pair.talk(200)
    assert [x.relayed for x in pair.raylets.values()] == relayed


def test_a_link_that_breaks_costs_no_message_and_doubles_none(pair: Pair) -> None:
    pair.link_up()
    for _ in range(40):
        pair.one.send(pair.two)
        pair.two.send(pair.one)
    pair.stream(pair.one).sock.shutdown(socket.SHUT_RDWR)
    for _ in range(40):
        pair.one.send(pair.two)
        pair.two.send(pair.one)
    pair.talk(10)
    assert pair.one.links.count() == pair.two.links.count() == 0
    pair.talk(300)  # there is another link by and by
    both = pair.one.links, pair.two.links
    pair.run_until(lambda: all(x.count() == 1 for x in both))


def test_too_few_ports_mean_that_raylets_relay(tmp_path: Path) -> None:
    few = (20000, 20000 + direct_sockets.PORTS_LEFT - 1)
    pair = Pair(tmp_path, few)
    try:
        pair.talk(60)
        assert pair.raylets[5].relayed >= 60
        pair.run_until(lambda: bool(pair.one.troubles + pair.two.troubles))
        assert "--port-range" in (pair.one.troubles + pair.two.troubles)[0]
    finally:
        pair.close()


@pytest.mark.parametrize("port", ["nothing listens", "another listens"])
def test_where_a_dial_does_not_lead_to_it_raylets_relay(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    real = direct_sockets.DirectSockets.offer
    other = Another()
    where = [(LOCAL, other.port if port == "another listens" else 1)]

    def elsewhere(self: direct_sockets.DirectSockets, peer: int, key: bytes) -> object:
        return where, real(self, peer, key)[1]

    monkeypatch.setattr(direct_sockets.DirectSockets, "offer", elsewhere)
    pair.parties.append(other)  # type: ignore[arg-type]
    pair.talk(30)
    pair.run_until(pair.has_failed)
    pair.talk(30)
    assert pair.raylets[5].relayed >= 60
    assert pair.one.links.count() == 0
    assert bool(pair.one.troubles + pair.two.troubles) == (port == "nothing listens")
    pair.parties.pop()
    other.close()


def test_the_next_address_is_tried_where_another_has_the_first(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = direct_sockets.DirectSockets.offer
    other = Another()

    def both(self: direct_sockets.DirectSockets, peer: int, key: bytes) -> object:
        endpoints, public = real(self, peer, key)
        return [(LOCAL, other.port), (LOCAL, 1), *endpoints], public

    monkeypatch.setattr(direct_sockets.DirectSockets, "offer", both)
    pair.parties.append(other)  # type: ignore[arg-type]
    pair.link_up()
    assert other.heard
    pair.talk(100)
    pair.parties.pop()
    other.close()


def test_an_address_at_which_somebody_is_silent_is_given_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = direct_sockets.DirectSockets.offer
    silent = socket.create_server((LOCAL, 0))  # the kernel connects whoever dials

    def both(self: direct_sockets.DirectSockets, peer: int, key: bytes) -> object:
        endpoints, public = real(self, peer, key)
        return [silent.getsockname(), *endpoints], public

    monkeypatch.setattr(direct_sockets.DirectSockets, "offer", both)
    monkeypatch.setattr(direct_sockets, "HELLO_S", 0.0)
    monkeypatch.setattr(direct_links, "ASK_AGAIN_AFTER", 4)
    pair.talk(10)
    while not pair.two.links.count():
        pair.talk(5)
    assert pair.one.links.count() == 1
    silent.close()


class Another:
    """Listens, and closes each connection when it has heard something."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOCAL, 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self.heard = b""

    @property
    def sockets(self) -> list[int]:
        return [x.fileno() for x in (self._listener, *self._open)]

    def turn(self) -> None:
        for sock in list(self._open):
            with contextlib.suppress(BlockingIOError):
                self.heard += sock.recv(100)
                self._open.remove(sock)
                sock.close()
        with contextlib.suppress(BlockingIOError):
            self._open.append(self._listener.accept()[0])
            self._open[-1].setblocking(False)

    def close(self) -> None:
        for sock in (self._listener, *self._open):
            sock.close()


STRANGE = {
    "nothing": b"",
    "garbage": b"GET / HTTP/1.1\r\n\r\n",
    "a frame": (60).to_bytes(4, "big") + bytes(60),
    "nothing of a proof": (32).to_bytes(4, "big") + bytes(32),
    "an unknown key": (48).to_bytes(4, "big") + bytes(48),
    "part of a hello": (48).to_bytes(4, "big") + bytes(20),
}


@pytest.mark.parametrize("said", STRANGE)
def test_a_stranger_gets_no_answer_and_hinders_nobody(pair: Pair, said: str) -> None:
    direct = pair.two.transport._direct
    endpoints, _ = direct.offer(pair.one.me, Secret().public)
    strangers = [socket.create_connection(endpoints[0]) for _ in range(20)]
    for sock in strangers:
        sock.sendall(STRANGE[said])
    pair.link_up()
    for sock in strangers:
        sock.settimeout(0.0)
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            assert sock.recv(1) == b""
        sock.close()
    pair.talk(100)


def test_who_knows_the_public_half_alone_is_not_let_in(pair: Pair) -> None:
    direct, me = pair.two.transport._direct, pair.one.me
    secret = Secret()
    endpoints, theirs = direct.offer(me, secret.public)
    up, down = Secret().agree(theirs, is_dialler=True)
    with socket.create_connection(endpoints[0]) as sock:
        sock.setblocking(False)
        stream = SealedStream(sock, select.epoll())
        assert stream.hello(secret.public, Sealer(up), Opener(down))
        gone = lambda: not stream.receive()[1]  # noqa: E731
        pair.parties.append(_Watcher(sock))  # type: ignore[arg-type]
        pair.run_until(gone)
        pair.parties.pop()
    assert secret.public in direct._offers  # it stays good for whom it is for
    assert not direct._by_via


def test_a_byte_that_is_changed_on_the_wire_costs_the_link_and_no_message(pair: Pair) -> None:
    pair.link_up()
    stream = pair.stream(pair.one)
    real = stream._seal
    stream._seal = Sealer(bytes(16))
    pair.one.send(pair.two)
    stream._seal = real
    pair.talk(20)
    assert pair.one.links.count() == pair.two.links.count() == 0
    pair.talk(300)
    both = pair.one.links, pair.two.links
    pair.run_until(lambda: all(x.count() == 1 for x in both))


def test_without_descriptors_nobody_is_let_in_until_the_next_offer(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = pair.two.transport._direct
    endpoints, _ = direct.offer(pair.one.me, Secret().public)
    (fd, listener), *_ = direct._listeners.items()
    monkeypatch.setitem(direct._listeners, fd, _Full())  # type: ignore[arg-type]
    with socket.create_connection(endpoints[0]):
        pair.run_until(lambda: direct._is_full)
        monkeypatch.setitem(direct._listeners, fd, listener)
        pair.link_up()


def test_without_descriptors_all_listeners_fall_silent_at_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = pair.two.transport._direct
    monkeypatch.setattr(direct, "_ips", [LOCAL, "127.0.0.2"])
    endpoints, _ = direct.offer(pair.one.me, Secret().public)
    listeners = dict(direct._listeners)
    with contextlib.ExitStack() as stack:
        for where in endpoints:
            stack.enter_context(socket.create_connection(where))
        for fd in listeners:
            monkeypatch.setitem(direct._listeners, fd, _Full())  # type: ignore[arg-type]
        pair.run_until(lambda: direct._is_full)
        for fd, listener in listeners.items():
            monkeypatch.setitem(direct._listeners, fd, listener)
        pair.link_up()


def test_of_a_stranger_no_more_is_read_than_a_proof_takes(pair: Pair) -> None:
    direct = pair.two.transport._direct
    endpoints, _ = direct.offer(pair.one.me, Secret().public)
    with socket.create_connection(endpoints[0]) as sock:
        sock.sendall(((16).to_bytes(4, "big") + bytes(16)) * 1000)
        pair.run_until(lambda: bool(direct._strangers))
        (stream,) = direct._strangers
        said, _ = stream.receive()
        assert len(said) == 2
        assert stream.sock.recv(4) == bytes(4)  # the rest of the third


class _Full:
    """A listener of a process that is out of descriptors."""

    def accept(self) -> object:
        raise OSError(errno.EMFILE, "Too many open files")


def test_a_key_that_has_been_used_enough_is_used_no_more(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.link_up()
    first = pair.stream(pair.one)
    monkeypatch.setattr(sealed_streams, "KEY_BYTES_MAX", first._sealed_bytes + 100)
    pair.talk(20)
    assert pair.one.links.count() == 0
    monkeypatch.undo()
    pair.talk(300)
    both = pair.one.links, pair.two.links
    pair.run_until(lambda: all(x.count() == 1 for x in both))
    assert pair.stream(pair.one)._sealed_bytes < first._sealed_bytes + 100_000


def test_large_frames_arrive_whole_though_the_kernel_takes_parts(pair: Pair) -> None:
    pair.link_up()
    taken = pair.two.links
    pair.stream(pair.one).sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    sizes = [1, 70_000, 8_000_000, 16, 1_000_000]
    frames = [codec.encode(pair.two.me, pair.one.me, Credit(0)) + bytes(x) for x in sizes]
    got: list[bytes] = []
    pair.two.take = got.append  # type: ignore[method-assign]
    for frame in frames:
        assert pair.one.links.send(pair.two.me, frame)
    assert pair.stream(pair.one).unsent
    pair.run_until(lambda: len(got) == len(frames))
    assert got == frames
    assert taken.count() == 1


def test_what_was_sent_arrives_though_its_sender_ends_with_something_unread(pair: Pair) -> None:
    pair.link_up()
    pair.stream(pair.one).sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
    assert pair.stream(pair.two).send(codec.encode(pair.one.me, pair.two.me, Credit(0)))
    frame = codec.encode(pair.two.me, pair.one.me, Credit(0)) + bytes(200_000)
    got: list[bytes] = []
    pair.two.take = got.append  # type: ignore[method-assign]
    assert pair.stream(pair.one).send(frame)
    pair.parties.remove(pair.one)
    pair.one.close()
    pair.run_until(lambda: bool(got))
    assert got == [frame]


def test_where_nothing_can_be_sealed_raylets_relay(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "problem", lambda: "there is no cryptography")
    pair.talk(60)
    assert pair.raylets[5].relayed >= 60
    assert "there is no cryptography" in pair.one.troubles + pair.two.troubles


def test_where_x25519_is_forbidden_raylets_relay(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden() -> object:
        raise UnsupportedAlgorithm("not in FIPS mode")

    monkeypatch.setattr(x25519.X25519PrivateKey, "generate", forbidden)
    pair.talk(60)
    assert pair.raylets[5].relayed >= 60
    assert any("not in FIPS mode" in x for x in pair.one.troubles + pair.two.troubles)


class _Watcher:
    """A socket to be polled beside the parties'."""

    def __init__(self, sock: object) -> None:
        self.transport = self
        self.sockets = [sock]

    def turn(self) -> None:
        """Nothing to do."""
