"""Direct links over real sockets: two processes of two nodes, whose raylets pass frames on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from rayhpc.wire import codec, direct_sockets, sockets
from rayhpc.wire.address import make_address, node_of
from rayhpc.wire.keys import new_key_pair
from rayhpc.wire.messages import PROCESS_TAKES
from rayhpc.wire.messages.windows import Credit
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

    def close(self) -> None:
        for party in self.parties:
            party.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.close()


def test_after_the_first_messages_nothing_passes_the_raylets(pair: Pair) -> None:
    assert len(pair.one.transport.sockets) == 2  # nothing is opened before it is needed
    pair.link_up()
    relayed = [x.relayed for x in pair.raylets.values()]
    pair.talk(200)
    assert [x.relayed for x in pair.raylets.values()] == relayed


def test_a_link_that_breaks_costs_no_message_and_doubles_none(pair: Pair) -> None:
    pair.link_up()
    for _ in range(40):
        pair.one.send(pair.two)
        pair.two.send(pair.one)
    dialler = pair.one if pair.one.transport._direct._dials else pair.two
    (dial,) = dialler.transport._direct._dials.values()
    sockets.disconnect_tcp(dialler.transport._direct._client, dial.endpoint)
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


def test_where_a_dial_is_not_let_through_raylets_relay(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_sockets, "ROUNDS", (50,))
    real = direct_sockets.DirectSockets.listen

    def elsewhere(self: direct_sockets.DirectSockets) -> object:
        _, key = real(self)
        return [(LOCAL, 1)], key

    monkeypatch.setattr(direct_sockets.DirectSockets, "listen", elsewhere)
    pair.talk(30)
    pair.run_until(lambda: bool(pair.one.troubles + pair.two.troubles))
    pair.talk(30)
    assert pair.raylets[5].relayed >= 60
    assert pair.one.links.count() == 0


def test_a_stranger_with_another_key_is_not_let_in(pair: Pair) -> None:
    pair.link_up()
    listening = pair.one if pair.one.transport._direct._listener else pair.two
    (endpoint,) = listening.transport._direct._endpoints
    server = listening.transport._direct._server_keys.public
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stranger = sockets.make_tcp_client(context, zmq.DEALER, new_key_pair(), routing_id=b"@stranger")
    events = stranger.get_monitor_socket(zmq.Event.HANDSHAKE_FAILED_AUTH)
    sockets.connect_tcp(stranger, *endpoint, server, b"@stranger")
    stranger.send(codec.encode(listening.me, pair.one.me, Credit(77)))
    pair.parties.append(_Watcher(events))  # type: ignore[arg-type]
    pair.run_until(lambda: bool(events.poll(0)))
    pair.talk(10)
    pair.parties.pop()
    stranger.disable_monitor()
    context.destroy(linger=0)


class _Watcher:
    """A socket to be polled beside the parties'."""

    def __init__(self, sock: object) -> None:
        self.transport = self
        self.sockets = [sock]

    def turn(self) -> None:
        """Nothing to do."""
