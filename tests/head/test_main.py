"""The head as a process of its own, spoken to over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import zmq

from rayhpc.head.config import HeadConfig
from rayhpc.wire import codec, keys, messages
from rayhpc.wire.address import HEAD, make_address, raylet_of
from rayhpc.wire.head_link import HeadLink
from rayhpc.wire.messages import cluster, leases, listings

from .fakes import FACTS, amounts, node_info

_PROGRAM = """
import sys, msgspec
from rayhpc.head import main
from rayhpc.head.config import HeadConfig
config = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=HeadConfig)
sys.exit(main.run(config, int(sys.argv[1]), int(sys.argv[2])))
"""
_decode = codec.Decoder(messages.RAYLET_TAKES)
PATIENCE_S = 60.0


class HeadInAProcess:
    """A head, and the pipe that keeps it alive."""

    def __init__(self, port: int = 0) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.server, self.node = keys.new_key_pair(), keys.new_key_pair()
        self.config = HeadConfig(
            FACTS.cluster_id,
            self.server,
            self.node.public,
            ["127.0.0.1"],
            self.folder.name,
            FACTS.version,
            FACTS.python,
            port,
        )
        self._start()
        endpoints = [tuple(x) for x in self.ready["endpoints"]]
        self.config.endpoints = endpoints
        self.key = keys.ClusterKey(FACTS.cluster_id, self.node, self.server.public, endpoints)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.raylets: list[Raylet] = []

    def resume(self) -> None:
        """Start another one, for the cluster of the first."""
        self._start()

    def _start(self) -> None:
        ready, ready_write = os.pipe()
        life_read, self.life = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(ready_write), str(life_read)],
            stdin=subprocess.PIPE,
            pass_fds=[ready_write, life_read],
        )
        os.close(ready_write)
        os.close(life_read)
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.msgpack.encode(self.config))
        self.process.stdin.close()
        with os.fdopen(ready) as file:
            self.ready: dict[str, Any] = json.loads(file.readline())

    def raylet(self, key: keys.ClusterKey | None = None) -> Raylet:
        raylet = Raylet(HeadLink(self.context, key or self.key), f"node-{len(self.raylets)}")
        self.raylets.append(raylet)
        return raylet

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        for raylet in self.raylets:
            raylet.link.close()
        self.context.destroy(linger=0)
        self.folder.cleanup()


class Raylet:
    """The head's other end, as bare as can be."""

    def __init__(self, link: HeadLink, name: str) -> None:
        self.link = link
        self.name = name
        self.number = 0
        self.seen: list[Any] = []
        self.destinations: list[int] = []

    def say(self, message: Any, process: int = 0) -> None:
        source = make_address(self.number, process) if self.number else HEAD
        self.link.send_frame(codec.encode(HEAD, source, message))

    def register(self, **changes: Any) -> Any:
        message = cluster.RegisterNode(
            FACTS.cluster_id,
            cluster.PROTOCOL,
            FACTS.python,
            FACTS.version,
            node_info(self.name, amounts(CPU=1)),
        )
        self.say(msgspec.structs.replace(message, **changes))
        answer = self.wait_for((cluster.Registered, cluster.RegistrationRefused))
        if isinstance(answer, cluster.Registered):
            self.number = answer.number
        return answer

    def rejoin(self, received: int, sent: float = 0.0) -> None:
        """Ask to be taken back."""
        message = cluster.RejoinNode(
            FACTS.cluster_id,
            cluster.PROTOCOL,
            FACTS.python,
            FACTS.version,
            self.number,
            self.name,
            received,
            cluster.Usage(self.number, amounts(CPU=1)),
            sent,
        )
        self.say(message)

    def wait_for_itself(self, kind: Any) -> Any:
        """The next message of that kind, which must be addressed to this raylet."""
        found = self.wait_for(kind)
        assert self.destinations[-1] == raylet_of(self.number)
        return found

    def wait_for(self, kind: Any) -> Any:
        """The next message of that kind."""
        poller = zmq.Poller()
        for sock in self.link.sockets:
            poller.register(sock, zmq.POLLIN)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for frame in self.link.receive():
                self.seen.append(_decode(frame))
                self.destinations.append(codec.destination_of(frame))
            for message in self.seen:
                if isinstance(message, kind):
                    self.seen.remove(message)
                    return message
            poller.poll(100)
        raise AssertionError(f"no {kind} came; but {self.seen}")


@pytest.fixture
def head() -> Iterator[HeadInAProcess]:
    head = HeadInAProcess()
    yield head
    head.close()


def test_nodes_join_work_and_the_end_reaches_them(head: HeadInAProcess) -> None:
    first, second = head.raylet(), head.raylet()
    assert first.register().number == 1
    assert [info.number for info in second.register().nodes] == [1, 2]
    assert first.wait_for(cluster.NodeUp).info.number == 2
    second.say(cluster.Request(7, cluster.KvPut("s", b"k", b"v")), process=9)
    reply = _reply(second)
    assert (reply.token, msgspec.msgpack.decode(reply.data)) == (7, True)
    second.say(cluster.EndCluster("done", 3), process=9)
    for raylet in (first, second):
        assert raylet.wait_for(leases.Shutdown) == leases.Shutdown("done", 3)
        raylet.link.close()
    head.raylets.clear()
    assert head.process.wait(PATIENCE_S) == 0


def _reply(raylet: Raylet) -> cluster.Reply:
    """A reply on its way to a process: raylets pass it on unread."""
    decode = codec.Decoder([cluster.Reply, cluster.NodeUp, cluster.View])
    poller = zmq.Poller()
    poller.register(raylet.link.sockets[0], zmq.POLLIN)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for frame in raylet.link.receive():
            message = decode(frame)
            if isinstance(message, cluster.Reply):
                assert codec.destination_of(frame) == make_address(raylet.number, 9)
                return message
        poller.poll(100)
    raise AssertionError("no reply")


def test_a_node_whose_connection_breaks_is_gone_at_once(head: HeadInAProcess) -> None:
    first, second = head.raylet(), head.raylet()
    first.register()
    second.register()
    second.link.close()
    head.raylets.remove(second)
    gone = first.wait_for(leases.NodeGone)
    assert (gone.node, "broke" in gone.reason) == (2, True)


def test_a_node_that_lives_may_make_another_connection(head: HeadInAProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:  # as its raylet would
        info = node_info("node-0", amounts(CPU=1))
        info = msgspec.structs.replace(info, endpoints=[there.getsockname()[:2]])
        first, other = head.raylet(), head.raylet()
        first.register(info=info)
        other.register()
        first.say(cluster.GetJob(9))
        first.say(cluster.Heartbeat(sent=1.0))
        assert first.wait_for(cluster.HeadAlive).received == 1
        again, late = head.raylet(), head.raylet()
        for each in (again, late):
            each.number, each.name = first.number, first.name
        again.rejoin(0, 2.0)
        assert again.wait_for(cluster.Rejoined).received == 1
        # What comes over other connections, made earlier and read later, means nothing.
        first.say(cluster.GetJob(10))
        late.rejoin(0, 1.5)
        for each in (first, late):
            each.link.close()
            head.raylets.remove(each)
        again.say(cluster.Heartbeat(sent=3.0))
        assert again.wait_for(cluster.HeadAlive).received == 1
        assert not any(isinstance(m, leases.NodeGone) for m in other.seen)


def test_a_mismatch_is_refused_and_another_try_may_succeed(head: HeadInAProcess) -> None:
    wrong, right = head.raylet(), head.raylet()
    refused = wrong.register(python="2.7")
    assert isinstance(refused, cluster.RegistrationRefused)
    assert "Python 2.7" in refused.reason
    assert right.register().number == 1


def test_whoever_never_registered_is_told_so(head: HeadInAProcess) -> None:
    stranger = head.raylet()
    stranger.say(cluster.Heartbeat())
    assert "does not know this node" in stranger.wait_for(cluster.RegistrationRefused).reason


def test_a_living_node_that_was_declared_dead_is_told_so_itself(head: HeadInAProcess) -> None:
    first, second = head.raylet(), head.raylet()
    first.register()
    second.register()
    first.say(cluster.LinkBroken(2))
    for _ in range(2):
        assert second.wait_for_itself(leases.NodeGone).node == 2
        second.say(cluster.Heartbeat())
    assert first.wait_for(leases.NodeGone).node == 2


def test_a_node_speaks_only_for_itself(head: HeadInAProcess) -> None:
    first, second = head.raylet(), head.raylet()
    first.register()
    second.register()
    forged = codec.encode(HEAD, raylet_of(1), cluster.Leave("forged"))
    second.link.send_frame(forged)
    second.say(cluster.GetJob(1))
    second.say(cluster.Request(1, cluster.Nodes()), process=9)
    states = msgspec.msgpack.decode(_reply(second).data, type=list[listings.NodeState])
    assert [s.draining for s in states] == [False, False]


def test_the_end_of_the_launcher_ends_the_cluster(head: HeadInAProcess) -> None:
    raylet = head.raylet()
    raylet.register()
    os.close(head.life)
    assert raylet.wait_for(leases.Shutdown).code == 71
    raylet.link.close()
    head.raylets.clear()
    assert head.process.wait(PATIENCE_S) == 71


def test_sigterm_ends_it_sigint_does_not(head: HeadInAProcess) -> None:
    raylet = head.raylet()
    raylet.register()
    head.process.send_signal(signal.SIGINT)
    raylet.say(cluster.Request(1, cluster.Nodes()), process=9)
    assert _reply(raylet).error == ""
    head.process.send_signal(signal.SIGTERM)
    assert raylet.wait_for(leases.Shutdown).code == 143
    raylet.link.close()
    head.raylets.clear()
    assert head.process.wait(PATIENCE_S) == 0


def test_a_killed_head_comes_back_with_what_it_had_acknowledged(head: HeadInAProcess) -> None:
    raylet = head.raylet()
    raylet.register()
    raylet.say(cluster.Request(1, cluster.KvPut("s", b"k", b"v")), process=9)
    assert _reply(raylet).token == 1
    head.process.kill()
    head.process.wait(PATIENCE_S)
    poller = zmq.Poller()
    for sock in raylet.link.sockets:
        poller.register(sock, zmq.POLLIN)
    while not raylet.link.is_lost():
        poller.poll(100)
        assert not list(raylet.link.receive())
    head.resume()
    raylet.link.redial()
    raylet.rejoin(1)
    back = raylet.wait_for(cluster.Rejoined)
    assert (back.life, back.received, [x.number for x in back.nodes]) == (2, 1, [1])
    raylet.say(cluster.Request(2, cluster.KvGet("s", b"k")), process=9)
    assert msgspec.msgpack.decode(_reply(raylet).data) == b"v"
    assert head.raylet().register().number == 2


def test_a_second_head_is_refused_while_the_first_runs(head: HeadInAProcess) -> None:
    first = head.process
    head.resume()
    assert (head.process.wait(PATIENCE_S), head.ready["code"]) == (71, 71)
    assert f"is running (process {first.pid})" in head.ready["error"]
    head.process = first
    assert head.raylet().register().number == 1


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        head = HeadInAProcess(port)
        try:
            assert head.ready["ok"]
            assert head.ready["endpoints"][0][1] != port
            assert head.raylet().register().number == 1
        finally:
            head.close()


def _all_that_comes(scanner: socket.socket) -> bytes:
    """Until the other end closes: it does not wait for a stranger to say something better."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := scanner.recv(1000):
            data += piece
    return data


def test_a_wrong_key_gets_nothing(head: HeadInAProcess) -> None:
    wrong = keys.ClusterKey(
        FACTS.cluster_id, keys.new_key_pair(), head.server.public, head.key.head_endpoints
    )
    link = head.raylet(wrong).link
    link.send_frame(codec.encode(HEAD, HEAD, cluster.Heartbeat()))
    with socket.create_connection(head.key.head_endpoints[0], PATIENCE_S) as scanner:
        scanner.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"HTTP" not in _all_that_comes(scanner)
    assert head.raylet().register().number == 1
    assert list(link.receive()) == []
