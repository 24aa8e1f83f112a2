"""Links between raylets over real sockets: order, waiting, broken links, nodes that are gone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
import zmq

from rayhpc.wire import codec, sockets
from rayhpc.wire.address import raylet_of
from rayhpc.wire.keys import KeyPair, new_key_pair
from rayhpc.wire.links import Links
from rayhpc.wire.messages.common import NodeInfo
from rayhpc.wire.messages.leases import Leaving
from tests.wire.helpers import LOOPBACK, poll_until
from tests.wire.middlebox import Middlebox


class Node:
    """One raylet's links, and what they have brought."""

    def __init__(self, number: int, keys: KeyPair) -> None:
        self.number = number
        self.context = zmq.Context()
        self.links = Links(self.context, keys)
        self.endpoints = self.links.listen([LOOPBACK], 0, None)
        self.links.named(raylet_of(number))
        self.frames: list[bytes] = []
        self.changes: list[tuple[int, bool]] = []

    def info(self, endpoints: list[tuple[str, int]] | None = None) -> NodeInfo:
        return NodeInfo(
            self.number, f"{self.number:032x}", LOOPBACK, "host", endpoints or self.endpoints,
            self.links.public_key, {}, {}, 0, False, 0, "",
        )  # fmt: skip

    def frame(self, to: Node, text: str) -> bytes:
        return codec.encode(raylet_of(to.number), raylet_of(self.number), Leaving(text))

    def send(self, to: Node, text: str) -> None:
        self.links.send_frame(raylet_of(to.number), self.frame(to, text))

    def turn(self) -> None:
        self.frames += self.links.receive()
        self.changes += self.links.changes()

    def texts(self) -> list[str]:
        decode = codec.Decoder([Leaving])
        return [decode(x).reason for x in self.frames]

    def close(self) -> None:
        self.links.close()
        self.context.destroy(linger=0)


class Net:
    """Some nodes of one cluster, served together."""

    def __init__(self) -> None:
        self.keys = new_key_pair()
        self.nodes: list[Node] = []

    def add(self, keys: KeyPair | None = None) -> Node:
        node = Node(len(self.nodes) + 1, keys or self.keys)
        self.nodes.append(node)
        return node

    def remove(self, node: Node) -> None:
        self.nodes.remove(node)
        node.close()

    def until(self, done: object, timeout: float = 60.0) -> None:
        every = [sock for node in self.nodes for sock in node.links.sockets]
        assert poll_until(done, every, lambda: [x.turn() for x in self.nodes], timeout)


@pytest.fixture
def net() -> Iterator[Net]:
    net = Net()
    yield net
    for node in net.nodes:
        node.close()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        return sock.getsockname()[1]


def test_frames_arrive_in_order_and_answers_come_back_the_same_way(net: Net) -> None:
    a, b = net.add(), net.add()
    a.links.learn(b.info())
    for number in range(500):
        a.send(b, str(number))
    net.until(lambda: len(b.frames) == 500)
    assert b.texts() == [str(x) for x in range(500)]
    b.send(a, "back")  # b has never learnt where a listens
    net.until(lambda: a.texts() == ["back"])


def test_both_may_dial_at_once(net: Net) -> None:
    a, b = net.add(), net.add()
    a.links.learn(b.info())
    b.links.learn(a.info())
    for number in range(200):
        a.send(b, str(number))
        b.send(a, str(number))
        a.turn()
        b.turn()
    net.until(lambda: len(a.frames) == len(b.frames) == 200)
    assert a.texts() == b.texts() == [str(x) for x in range(200)]
    assert a.changes == b.changes == []


def test_what_is_sent_before_a_node_is_known_waits_for_it(net: Net) -> None:
    a, b = net.add(), net.add()
    a.send(b, "early")
    a.turn()
    a.links.learn(b.info())
    net.until(lambda: b.texts() == ["early"])


def test_addresses_are_tried_in_turn(net: Net) -> None:
    a, b = net.add(), net.add()
    with socket.create_server((LOOPBACK, 0)) as mute:  # connects, but never says a word
        places = [(LOOPBACK, closed_port()), (LOOPBACK, mute.getsockname()[1]), *b.endpoints]
        a.links.learn(b.info(places))
        for number in range(3):
            a.send(b, str(number))
        net.until(lambda: len(b.frames) == 3)
    assert b.texts() == ["0", "1", "2"]
    assert not a.changes


def test_a_listener_with_another_key_is_not_the_node(net: Net) -> None:
    a, b, impostor = net.add(), net.add(), net.add()
    a.links.learn(b.info([*impostor.endpoints, *b.endpoints]))
    a.send(b, "secret")
    net.until(lambda: b.texts() == ["secret"])
    assert impostor.frames == []


def test_a_node_that_nobody_reaches_is_reported_once_and_told_all_when_found(net: Net) -> None:
    a, b = net.add(), net.add()
    a.links.learn(b.info([(LOOPBACK, closed_port())]))
    a.send(b, "one")
    a.send(b, "two")
    net.until(lambda: bool(a.changes))
    a.send(b, "three")
    a.turn()
    assert a.changes == [(b.number, False)]
    a.links.learn(b.info())  # it has been found elsewhere
    a.send(b, "four")
    net.until(lambda: len(b.frames) == 4)
    assert b.texts() == ["one", "two", "three", "four"]
    assert a.changes == [(b.number, False), (b.number, True)]


def test_a_raylet_with_another_clusters_key_is_not_let_in(net: Net) -> None:
    a, stranger = net.add(), net.add(new_key_pair())
    stranger.links.learn(a.info())
    stranger.send(a, "hello")
    net.until(lambda: stranger.changes == [(a.number, False)])
    assert a.frames == []
    assert a.links._listener._zap.refused > 0


@pytest.mark.parametrize("dialler", [0, 1])
def test_the_end_of_a_node_is_seen_by_its_peer_after_its_last_words(net: Net, dialler: int) -> None:
    a, b = net.add(), net.add()
    first, second = (a, b) if dialler == 0 else (b, a)
    first.links.learn(second.info())
    first.send(second, "hello")
    net.until(lambda: len(second.frames) == 1)
    second.send(first, "hello")
    net.until(lambda: len(first.frames) == 1)
    for number in range(100):
        b.send(a, str(number))
    net.remove(b)
    net.until(lambda: a.changes == [(b.number, False)])
    expected = ["hello", *[str(x) for x in range(100)]]
    assert a.texts()[-101:] == expected


def test_a_peer_that_greets_and_goes_is_lost_too(net: Net) -> None:
    a, b = net.add(), net.add()
    b.links.learn(a.info())
    b.send(a, "never heard")
    poller = zmq.Poller()
    poller.register(a.links._listener.sock, zmq.POLLIN)
    # b's handshake needs a's judgement, but a does not read the greeting before b has gone.
    while not poller.poll(10):
        a.links._listener._zap.serve()
        b.turn()
    net.remove(b)
    net.until(lambda: a.changes == [(b.number, False)])
    assert a.frames == []


def test_a_forgotten_node_is_neither_heard_nor_spoken_to(net: Net) -> None:
    a, b = net.add(), net.add()
    b.links.learn(a.info())
    b.send(a, "alive")
    net.until(lambda: len(a.frames) == 1)
    a.links.forget(b.number)
    b.send(a, "ghost")
    a.send(b, "to a ghost")
    a.links.learn(b.info())
    a.send(b, "to a ghost")
    c = net.add()
    c.links.learn(a.info())
    c.send(a, "after")
    net.until(lambda: len(a.frames) == 2)
    assert a.texts() == ["alive", "after"]
    assert b.frames == []


def test_much_that_waits_for_a_link_arrives_and_breaks_nothing(net: Net) -> None:
    a, b = net.add(), net.add()
    large = "x" * (1 << 20)
    for _ in range(80):
        a.send(b, large)
    a.turn()
    assert a.changes == []
    a.links.learn(b.info())
    a.send(b, "last")
    net.until(lambda: len(b.frames) == 81)
    assert b.texts()[-1] == "last"
    assert a.changes == []


def test_a_frame_that_would_break_the_connection_is_refused(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_FRAME_BYTES", 1000)
    a, b = net.add(), net.add()
    with pytest.raises(ValueError, match="object store"):
        a.send(b, "x" * 2000)


def test_large_frames_pass_both_ways(net: Net) -> None:
    a, b = net.add(), net.add()
    a.links.learn(b.info())
    large = "x" * (3 << 20)
    a.send(b, large)
    net.until(lambda: b.texts() == [large])
    b.send(a, large)
    net.until(lambda: a.texts() == [large])


def is_over(*nodes: Node) -> bool:
    """Whether somebody has noticed, and nobody's link is broken any more."""
    last = [node.changes[-1] for node in nodes if node.changes]
    return bool(last) and all(is_whole for _, is_whole in last)


@pytest.mark.parametrize("trouble", ["reset", "change", "forget"])
@pytest.mark.parametrize("both_dial", [False, True])
def test_a_link_that_breaks_is_made_again_and_costs_and_doubles_nothing(
    net: Net, monkeypatch: pytest.MonkeyPatch, trouble: str, both_dial: bool
) -> None:
    monkeypatch.setattr(sockets, "HEARTBEAT", 50)
    monkeypatch.setattr(sockets, "SILENCE", 200)
    a, b = net.add(), net.add()
    with contextlib.closing(Middlebox(b.endpoints[0])) as middle:
        a.links.learn(b.info([middle.endpoint]))
        a.send(b, "0")
        net.until(lambda: len(b.frames) == 1)
        if both_dial:
            b.links.learn(a.info())
        for number in range(1, 100):
            a.send(b, str(number))
            b.send(a, str(number))
            a.turn()
            b.turn()
            if number in (50, 60, 70):
                getattr(middle, trouble)()
        net.until(lambda: len(a.frames) == 99 and len(b.frames) == 100)
        # An end may notice after all has come, or go over to the other's connection without that.
        net.until(lambda: is_over(a, b))
    assert a.texts() == [str(x) for x in range(1, 100)]
    assert b.texts() == [str(x) for x in range(100)]
