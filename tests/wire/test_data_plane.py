"""The data plane over real sockets: what arrives, who is let in, and what ends a channel."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rayhpc.store.arena import Arena
from rayhpc.wire.data_plane import DataPlane, Offer, listening, plane, sealing, sending
from rayhpc.wire.data_plane.sending import Span

pytest.importorskip("cryptography")

ARENA_BYTES = 32 << 20
PIECE = sealing.PIECE_BYTES
PATIENCE = 60.0


class Node:
    """A data plane, and what it says."""

    def __init__(
        self, number: int, ports: tuple[int, int] | None = None, channels: int = 32
    ) -> None:
        self.number = number
        self.arena = Arena.create(ARENA_BYTES)
        self.arena.commit(0, ARENA_BYTES)
        self.plane = DataPlane(self.arena, ["127.0.0.1"], ports, channels)
        self.told: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.heard: list[tuple[Any, ...]] = []
        self.plane.attach(self.told.put, self)

    def opened(self, *what: Any) -> None:
        self.heard.append(("opened", *what))

    def arrived(self, *what: Any) -> None:
        self.heard.append(("arrived", *what))

    def closed(self, *what: Any) -> None:
        self.heard.append(("closed", *what))

    def sent(self, *what: Any) -> None:
        self.heard.append(("sent", *what))

    def ended(self, *what: Any) -> None:
        self.heard.append(("ended", *what))

    def wait_for(self, kind: str, *others: Node) -> tuple[Any, ...]:
        """What it hears of that kind next (other nodes hear meanwhile)."""
        end = time.monotonic() + PATIENCE
        while True:
            for each in self.heard:
                if each[0] == kind:
                    self.heard.remove(each)
                    return each[1:]
            assert time.monotonic() < end, f"not {kind} but {self.heard}"
            for node in (self, *others):
                with contextlib.suppress(queue.Empty):
                    node.told.get(timeout=0.01)()

    def fill(self, offset: int, data: bytes) -> None:
        with self.arena.view(offset, len(data)) as view:
            view[:] = data

    def read(self, offset: int, length: int) -> bytes:
        with self.arena.view(offset, length) as view:
            return bytes(view)


class Between:
    """A wire that a test can disturb: passes on what `change` makes of it, and counts that.

    `change(data, position)` sees what the source sends; None cuts the wire, b"" holds it back.
    """

    def __init__(self, offer: Offer) -> None:
        self.change: Callable[[bytes, int], bytes | None] = lambda data, position: data
        self.passed = 0
        self.said = b""  # what the asking side has said
        self._to = offer.endpoints[0]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.offer = dataclasses.replace(offer, endpoints=[self._listener.getsockname()[:2]])
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            caller, _ = self._listener.accept()
            source = socket.create_connection(self._to)
            self._sockets += [caller, source]
            self._threads.append(threading.Thread(target=self._ask, args=(caller, source)))
            self._threads[-1].start()
            self._pass(source, caller)

    def _ask(self, caller: socket.socket, source: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := caller.recv(65536):
                self.said += data
                source.sendall(data)
            source.shutdown(socket.SHUT_RDWR)

    def _pass(self, source: socket.socket, caller: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                changed = self.change(data, self.passed)
                self.passed += len(data)
                if changed is None:
                    linger = struct.pack("ii", 1, 0)
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    break
                caller.sendall(changed)
        with contextlib.suppress(OSError):
            caller.shutdown(socket.SHUT_RDWR)  # also ends the other thread's wait
        caller.close()

    def close(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(PATIENCE)


THREADS = ("rayhpc-listen", "rayhpc-receive", "rayhpc-send")


@pytest.fixture
def pair() -> Iterator[tuple[Node, Node]]:
    """A source and a sink."""
    source, sink = Node(1), Node(2)
    assert source.plane.listen() == ""
    yield source, sink
    for node in (source, sink):
        node.plane.close()
        node.arena.close()
    assert not [x.name for x in threading.enumerate() if x.name in THREADS]


@pytest.fixture
def wire(pair: tuple[Node, Node]) -> Iterator[Between]:
    """Between them, with a channel open over it."""
    source, sink = pair
    between = Between(source.plane.offer(sink.number))
    sink.plane.dial(source.number, between.offer)
    sink.wait_for("opened", source)
    yield between
    between.close()


def connect(source: Node, sink: Node) -> int:
    offer = source.plane.offer(sink.number)
    sink.plane.dial(source.number, offer)
    sink.wait_for("opened", source)
    return offer.channel


def move(source: Node, sink: Node, channel: int, token: int, data: bytes, at: int = 0) -> None:
    """Have `data` go from the source's `at` to the sink's."""
    source.fill(at, data)
    sink.plane.expect((source.number, channel), token, 0, len(data), at)
    source.plane.send(channel, Span(token, 7, 0, len(data), at))


@pytest.mark.parametrize("length", [1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 13])
def test_bytes_arrive_as_they_were_and_nowhere_else(pair: tuple[Node, Node], length: int) -> None:
    source, sink = pair
    channel = connect(source, sink)
    data = os.urandom(length)
    move(source, sink, channel, 5, data, at=64)
    assert sink.wait_for("arrived", source) == ((1, channel), 5, 7)
    assert source.wait_for("sent") == (channel, 5)
    assert sink.read(0, 64 + length + 64) == bytes(64) + data + bytes(64)


def test_many_spans_over_two_channels_at_once(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    channels = [connect(source, sink) for _ in range(2)]
    data = os.urandom(PIECE + 1000)
    places = [i << 20 for i in range(12)]
    for i, at in enumerate(places):
        move(source, sink, channels[i % 2], i, data, at)
    arrived = {sink.wait_for("arrived", source)[1] for _ in places}
    assert arrived == set(range(12))
    assert all(sink.read(at, len(data)) == data for at in places)
    assert sink.plane.moved((1, channels[0])) > 0


def _one_bit(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data, at: _one_bit(data) if at > PIECE else data, id="one bit"),
        pytest.param(lambda data, at: data + data if at > PIECE else data, id="twice"),
        pytest.param(lambda data, at: data[1:] if at > PIECE else data, id="one byte less"),
        pytest.param(lambda data, at: _one_bit(data), id="the header"),
    ],
)
def test_wrong_bytes_end_the_channel(
    pair: tuple[Node, Node], wire: Between, change: Callable[[bytes, int], bytes]
) -> None:
    source, sink = pair
    passed = wire.passed
    wire.change = lambda data, position: change(data, position - passed)
    move(source, sink, wire.offer.channel, 5, os.urandom(4 * PIECE))
    channel, why = sink.wait_for("closed", source)
    assert channel == (1, wire.offer.channel)
    assert "not what was sealed" in why
    assert not [x for x in sink.heard if x[0] == "arrived"]


def test_a_reset_in_the_middle_is_told_to_both(pair: tuple[Node, Node], wire: Between) -> None:
    source, sink = pair
    wire.change = lambda data, position: None if position > PIECE else data
    move(source, sink, wire.offer.channel, 5, os.urandom(20 * PIECE))
    assert sink.wait_for("closed", source)[1]
    source.plane.end(wire.offer.channel)
    assert source.wait_for("ended", sink) == (wire.offer.channel,)
    assert source.plane.leads_to(wire.offer.channel) == 0


def test_a_stall_can_be_seen_and_ended(pair: tuple[Node, Node], wire: Between) -> None:
    source, sink = pair
    channel = (1, wire.offer.channel)
    wire.change = lambda data, position: b"" if position > 2 * PIECE else data
    move(source, sink, wire.offer.channel, 5, os.urandom(20 * PIECE))
    end = time.monotonic() + PATIENCE
    # What has passed the wire may not have been opened yet.
    while wire.passed < 10 * PIECE or not sink.plane.moved(channel):
        assert time.monotonic() < end
    assert sink.plane.moved(channel) < 20
    sink.plane.hang_up(channel)
    assert sink.wait_for("closed", source)[0] == channel
    source.plane.end(wire.offer.channel)
    assert source.wait_for("ended", sink) == (wire.offer.channel,)


def test_what_nobody_had_asked_for_ends_the_channel(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    channel = connect(source, sink)
    source.plane.send(channel, Span(9, 7, 0, 1000, 0))
    assert "nobody had asked" in sink.wait_for("closed", source)[1]


def test_another_part_than_was_asked_for_ends_the_channel(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    channel = connect(source, sink)
    sink.plane.expect((1, channel), 9, 0, 1000, 0)
    source.plane.send(channel, Span(9, 7, 0, 2000, 0))
    assert "nobody had asked" in sink.wait_for("closed", source)[1]


def test_a_source_that_is_killed(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    channel = connect(source, sink)
    move(source, sink, channel, 5, os.urandom(40 * PIECE))
    source.plane.close()
    sink.wait_for("closed", source)


def test_a_sink_that_is_killed(pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_USER_TIMEOUT", 60_000)  # that is for a machine that is gone
    source, sink = pair
    channel = connect(source, sink)
    move(source, sink, channel, 5, os.urandom(40 * PIECE))
    sink.plane.close()
    for token in range(6, 9):  # what went into the kernel's buffers was sent, as far as we know
        source.plane.send(channel, Span(token, 7, 0, 40 * PIECE, 0))
    source.wait_for("ended")


# -- who is let in ---------------------------------------------------------------------------------
def _says(endpoint: tuple[str, int], data: bytes) -> bytes:
    """What the listener answers a stranger."""
    with socket.create_connection(endpoint, timeout=PATIENCE) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
        try:
            return sock.recv(1000)
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    "data",
    [os.urandom(listening.HELLO_BYTES), os.urandom(100_000), b"GET / HTTP/1.1\r\n" + bytes(99)],
    ids=["noise", "much noise", "HTTP"],
)
def test_a_stranger_hears_nothing(pair: tuple[Node, Node], data: bytes) -> None:
    source, sink = pair
    offer = source.plane.offer(sink.number)
    assert _says(offer.endpoints[0], data) == b""
    connect(source, sink)


def test_a_ticket_without_its_key_is_nothing(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    offer = source.plane.offer(sink.number)
    said = listening.hello(offer.ticket, sealing.new_key())
    assert _says(offer.endpoints[0], said) == b""
    sink.plane.dial(1, offer)  # and stays good for whom it is for
    sink.wait_for("opened", source)


def test_a_ticket_is_good_once(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    offer = source.plane.offer(sink.number)
    sink.plane.dial(1, offer)
    sink.wait_for("opened", source)
    assert _says(offer.endpoints[0], listening.hello(offer.ticket, offer.up)) == b""


def test_a_ticket_is_good_for_a_while(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = pair
    monkeypatch.setattr(plane, "TICKET_S", -1.0)
    sink.plane.dial(1, source.plane.offer(sink.number))
    assert "did not let us in" in sink.wait_for("closed", source)[1]


def test_connections_that_are_left_half_open_keep_nobody_out(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    endpoint = source.plane.offer(sink.number).endpoints[0]
    held = [socket.create_connection(endpoint, timeout=PATIENCE) for _ in range(300)]
    try:
        connect(source, sink)
    finally:
        for sock in held:
            sock.close()


def test_who_is_slow_with_his_hello_is_dropped(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = pair
    monkeypatch.setattr(listening, "_HELLO_S", 0.1)
    endpoint = source.plane.offer(sink.number).endpoints[0]
    assert _says(endpoint, b"half") == b""


def test_an_impostor_learns_a_ticket_and_no_more(pair: tuple[Node, Node]) -> None:
    """Whoever has taken the source's port cannot prove that he has the key."""
    source, sink = pair
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as impostor:

        def answer() -> None:
            sock, _ = impostor.accept()
            with sock:
                heard.append(sock.recv(1000))
                sock.sendall(os.urandom(listening.GREETING_BYTES))
                heard.append(sock.recv(1000))

        thread = threading.Thread(target=answer)
        thread.start()
        offer = source.plane.offer(sink.number)
        fake = dataclasses.replace(offer, endpoints=[impostor.getsockname()[:2]])
        sink.plane.dial(1, fake)
        assert "not what was sealed" in sink.wait_for("closed", source)[1]
        thread.join(PATIENCE)
    assert [len(x) for x in heard] == [listening.HELLO_BYTES, 0]
    assert offer.up not in heard[0]
    assert offer.down not in heard[0]


def test_nothing_can_be_read_on_the_wire(pair: tuple[Node, Node], wire: Between) -> None:
    source, sink = pair
    seen: list[bytes] = []
    wire.change = lambda data, position: seen.append(data) or data  # type: ignore[func-returns-value]
    secret = b"what nobody else is to read" * 1000
    move(source, sink, wire.offer.channel, 5, secret)
    sink.wait_for("arrived", source)
    assert secret[:50] not in b"".join(seen)
    assert len(wire.said) == listening.HELLO_BYTES  # all that the asking side ever says there


# -- ends that are no faults -----------------------------------------------------------------------
def test_an_idle_channel_ends_in_good_order(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = pair
    monkeypatch.setattr(sending, "_IDLE_S", 0.05)
    channel = connect(source, sink)
    assert sink.wait_for("closed", source) == ((1, channel), "")
    source.wait_for("ended")


def test_a_key_is_not_used_for_ever(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = pair
    monkeypatch.setattr(sealing, "KEY_BYTES_MAX", PIECE)
    channel = connect(source, sink)
    move(source, sink, channel, 5, os.urandom(PIECE))
    sink.wait_for("arrived", source)
    assert sink.wait_for("closed", source) == ((1, channel), "")


def test_every_connection_has_keys_of_its_own(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    offers = [source.plane.offer(sink.number) for _ in range(3)]
    assert len({key for offer in offers for key in (offer.up, offer.down, offer.ticket)}) == 9
    assert all(key.hex() not in repr(offers) for key in (offers[0].up, offers[0].down))


def test_there_are_so_many_channels_and_no_more() -> None:
    source = Node(1, channels=2)
    assert source.plane.listen() == ""
    assert [bool(source.plane.offer(2).endpoints) for _ in range(3)] == [True, True, False]
    assert "too many" in source.plane.offer(2).text
    source.plane.close()


# -- where it cannot be ----------------------------------------------------------------------------
def test_a_range_without_a_free_port_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = Node(1, (port, port))
        assert "--port-range" in node.plane.listen()
        assert node.plane.offer(2).endpoints == []
        node.plane.close()


def test_the_port_is_inside_the_range() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = Node(1, (port, min(port + 50, 65535)))
        assert node.plane.listen() == ""
        found = node.plane.offer(2).endpoints[0][1]
        assert port < found <= port + 50
        node.plane.close()


def test_nobody_who_listens_there_is_said(pair: tuple[Node, Node]) -> None:
    source, sink = pair
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = free.getsockname()[:2]
    offer = dataclasses.replace(source.plane.offer(sink.number), endpoints=[endpoint])
    sink.plane.dial(1, offer)
    assert f"port {endpoint[1]}: Connection refused" in sink.wait_for("closed", source)[1]
