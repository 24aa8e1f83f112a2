"""The head and its raylets over real TCP: who is let in, who is lost, and what strangers get."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence

import pytest
import zmq

from rayhpc.wire.dialing import ROUNDS
from rayhpc.wire.head_link import HeadLink, HeadServer
from rayhpc.wire.keys import ClusterKey, new_cluster_id, new_key_pair
from tests.wire.helpers import LOOPBACK, poll_until
from tests.wire.middlebox import Middlebox

# For links of which nothing comes.  The others have the time that a busy machine takes.
QUICK = (300, 600)


class Cluster:
    """A head, and links to it."""

    def __init__(self) -> None:
        self.node, self.server_keys = new_key_pair(), new_key_pair()
        self.context = zmq.Context()
        self.server = HeadServer(self.context, self.server_keys, self.node.public)
        self.endpoints = self.server.listen([LOOPBACK], 0, None)
        self.heard: list[tuple[bytes, bytes]] = []
        self.lost: list[bytes] = []
        self.links: list[HeadLink] = []
        self.contexts: list[zmq.Context[zmq.Socket[bytes]]] = []
        self.frames: dict[HeadLink, list[bytes]] = {}

    def key(self, endpoints: list[tuple[str, int]] | None = None) -> ClusterKey:
        return ClusterKey(
            new_cluster_id(), self.node, self.server_keys.public, endpoints or self.endpoints
        )

    def link(
        self,
        key: ClusterKey | None = None,
        rounds: Sequence[int] = ROUNDS,
        silence_ms: int | None = None,
    ) -> HeadLink:
        self.contexts.append(zmq.Context())
        link = HeadLink(self.contexts[-1], key or self.key(), rounds, silence_ms)
        self.links.append(link)
        self.frames[link] = []
        return link

    def turn(self) -> None:
        self.heard += self.server.receive()
        self.lost += self.server.lost()
        for link in self.links:
            self.frames[link] += link.receive()

    def until(self, done: Callable[[], bool]) -> None:
        every = [*self.server.sockets, *[s for x in self.links for s in x.sockets]]
        assert poll_until(done, every, self.turn)

    def unlink(self, link: HeadLink) -> None:
        at = self.links.index(link)
        del self.links[at]
        link.close()
        self.contexts.pop(at).destroy(linger=0)

    def close(self) -> None:
        for link in list(self.links):
            self.unlink(link)
        if not self.server.sock.closed:
            self.server.close()
        self.context.destroy(linger=0)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        return sock.getsockname()[1]


def test_frames_go_both_ways_in_order(cluster: Cluster) -> None:
    links = [cluster.link() for _ in range(3)]
    for number in range(100):
        for index, link in enumerate(links):
            link.send_frame(b"%d %d" % (index, number))
    cluster.until(lambda: len(cluster.heard) == 300)
    names = {frame.split()[0]: peer for peer, frame in cluster.heard}
    assert len(set(names.values())) == 3
    for index, link in enumerate(links):
        mine = [frame for peer, frame in cluster.heard if peer == names[b"%d" % index]]
        assert mine == [b"%d %d" % (index, x) for x in range(100)]
        assert cluster.server.send_frame(names[b"%d" % index], b"to %d" % index)
        cluster.until(lambda link=link: bool(cluster.frames[link]))
        assert cluster.frames[link] == [b"to %d" % index]
        assert link.is_up()


def test_the_first_address_that_answers_inside_curve_is_taken(cluster: Cluster) -> None:
    other = Cluster()
    with socket.create_server((LOOPBACK, 0)) as mute:
        wrong = [(LOOPBACK, closed_port()), mute.getsockname()[:2], other.endpoints[0]]
        link = cluster.link(cluster.key([*wrong, *cluster.endpoints]), (*QUICK, 3_000))
        link.send_frame(b"hello")
        every = [*cluster.server.sockets, *link.sockets, *other.server.sockets]
        turn = lambda: (cluster.turn(), other.turn())  # noqa: E731
        assert poll_until(lambda: bool(cluster.heard), every, turn)
    assert cluster.heard[0][1] == b"hello"
    assert other.heard == []
    other.close()


def test_a_head_that_nobody_reaches_is_lost_with_the_reasons(cluster: Cluster) -> None:
    port = closed_port()
    link = cluster.link(cluster.key([(LOOPBACK, port)]), QUICK)
    link.send_frame(b"hello")
    cluster.until(link.is_lost)
    assert f"{LOOPBACK}:{port}: nothing listens there" in link.why()
    link.send_frame(b"into the void")
    assert not link.is_up()


def test_a_link_without_any_address_is_lost(cluster: Cluster) -> None:
    link = cluster.link(ClusterKey(new_cluster_id(), cluster.node, cluster.server_keys.public, []))
    cluster.turn()
    assert link.is_lost()
    assert "no address" in link.why()


def test_a_wrong_client_key_is_refused(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    stranger = ClusterKey(
        new_cluster_id(), new_key_pair(), cluster.server_keys.public, cluster.endpoints
    )
    link = cluster.link(stranger, QUICK)
    link.send_frame(b"let me in")
    cluster.until(link.is_lost)
    assert "rejected this cluster's key" in link.why()
    assert cluster.heard == []
    lines = [x for x in caplog.messages if "rejected a client" in x]
    assert len(lines) == 1  # however often it tries
    assert LOOPBACK in lines[0]


def test_the_end_of_a_raylet_is_seen_once(cluster: Cluster) -> None:
    one, other = cluster.link(), cluster.link()
    one.send_frame(b"one")
    other.send_frame(b"other")
    cluster.until(lambda: len(cluster.heard) == 2)
    names = {frame: peer for peer, frame in cluster.heard}
    one.send_frame(b"last words")
    cluster.unlink(one)
    cluster.until(lambda: bool(cluster.lost))
    assert cluster.lost == [names[b"one"]]
    assert (names[b"one"], b"last words") in cluster.heard
    # ZeroMQ tells of the end a moment before it forgets the peer.
    cluster.until(lambda: not cluster.server.send_frame(names[b"one"], b"late"))
    assert cluster.server.send_frame(names[b"other"], b"still here")
    cluster.until(lambda: cluster.frames[other] == [b"still here"])


def test_the_heads_last_words_are_read_before_it_is_lost(cluster: Cluster) -> None:
    link = cluster.link()
    link.send_frame(b"hello")
    cluster.until(lambda: bool(cluster.heard))
    peer = cluster.heard[0][0]
    for number in range(100):
        cluster.server.send_frame(peer, b"%d" % number)
    cluster.server.close()
    frames: list[bytes] = []
    assert poll_until(link.is_lost, link.sockets, lambda: frames.extend(link.receive()))
    assert frames == [b"%d" % x for x in range(100)]
    assert "broke" in link.why()


def test_scanners_and_garbage_get_nothing_and_disturb_nobody(cluster: Cluster) -> None:
    link = cluster.link()
    link.send_frame(b"before")
    cluster.until(lambda: len(cluster.heard) == 1)
    address = cluster.endpoints[0]
    strangers = []
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00"
    null = greeting + b"NULL".ljust(20, b"\0") + bytes(32)
    curve = greeting + b"CURVE".ljust(20, b"\0") + bytes(32)
    words = [b"", b"GET / HTTP/1.0\r\n\r\n", os.urandom(5000), null, curve + os.urandom(300)]
    words += [greeting, curve + b"\x06" + (2**40).to_bytes(8, "big") + b"x" * 1000]
    for some in words:
        sock = socket.create_connection(address)
        sock.settimeout(10)
        sock.sendall(some)
        strangers.append(sock)
    plain = zmq.Context()
    dealer = plain.socket(zmq.DEALER)
    dealer.connect(f"tcp://{address[0]}:{address[1]}")
    dealer.send(b"no key at all")
    newcomer = cluster.link()
    newcomer.send_frame(b"after")
    link.send_frame(b"still here")
    cluster.until(lambda: len(cluster.heard) == 3)
    assert {frame for _, frame in cluster.heard} == {b"before", b"after", b"still here"}
    for sock, some in zip(strangers, words, strict=True):
        if some and some is not greeting:
            _only_greetings(sock)
        sock.close()
    cluster.turn()
    assert cluster.lost == []
    assert link.is_up()
    plain.destroy(linger=0)


def _only_greetings(sock: socket.socket) -> None:
    """What comes back is ZeroMQ's fixed greeting at most, then the end."""
    received = b""
    try:
        while data := sock.recv(1000):
            received += data
    except ConnectionResetError:
        pass
    assert len(received) <= 64


def test_listening_on_several_addresses(cluster: Cluster) -> None:
    context = zmq.Context()
    server = HeadServer(context, cluster.server_keys, cluster.node.public)
    found = server.listen([LOOPBACK, "127.0.0.2", "192.0.2.1"], 0, None)  # the last is nobody's
    assert [ip for ip, _ in found] == [LOOPBACK, "127.0.0.2"]
    assert found[0][1] == found[1][1]
    link = cluster.link(cluster.key([found[1]]))
    link.send_frame(b"through the second")
    heard: list[tuple[bytes, bytes]] = []
    turn = lambda: (heard.extend(server.receive()), list(link.receive()))  # noqa: E731
    assert poll_until(lambda: bool(heard), [*server.sockets, *link.sockets], turn)
    with pytest.raises(OSError):
        server.listen(["192.0.2.1"], 0, None)
    server.close()
    context.destroy(linger=0)


@pytest.mark.parametrize("trouble", ["reset", "change", "forget"])
def test_a_broken_connection_is_noticed_and_dialled_anew(cluster: Cluster, trouble: str) -> None:
    with contextlib.closing(Middlebox(cluster.endpoints[0])) as middle:
        link = cluster.link(cluster.key([middle.endpoint]), silence_ms=200)
        link.send_frame(b"one")
        cluster.until(lambda: len(cluster.heard) == 1)
        getattr(middle, trouble)()
        link.send_frame(b"perhaps lost")
        cluster.until(link.is_lost)
        link.redial()
        link.send_frame(b"two")
        cluster.until(lambda: cluster.heard[-1][1] == b"two")
        assert cluster.heard[0][0] != cluster.heard[-1][0]
        assert link.is_up()
