"""What a stranger on the network gets: nothing, and he disturbs nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from rayhpc.launch import node_config
from rayhpc.wire import codec
from rayhpc.wire.address import HEAD, make_address, raylet_of
from rayhpc.wire.data_plane import sealing
from rayhpc.wire.head_link import HeadLink
from rayhpc.wire.keys import new_cluster_id, new_key_pair
from rayhpc.wire.messages import cluster, leases
from rayhpc.wire.messages.common import NodeInfo
from tests.launch.processes import family
from tests.security.conftest import Target

HAS_PLANE = not sealing.problem()
Endpoint = tuple[str, int]
LISTENS = "0A"


def listeners(target: Target) -> dict[Endpoint, int]:
    """Every TCP address at which a process of the cluster listens, and the pid."""
    found: dict[Endpoint, int] = {}
    for pid in target.processes():
        inodes = set(_socket_inodes(pid))
        for address, inode in _tcp_listeners(pid):
            if inode in inodes:
                found[address] = pid
    return found


def _socket_inodes(pid: int) -> Iterator[str]:
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if link.startswith("socket:["):
            yield link[8:-1]


def _tcp_listeners(pid: int) -> Iterator[tuple[Endpoint, str]]:
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == LISTENS:
                ip, port = fields[1].split(":")
                packed = bytes.fromhex(ip)
                words = struct.unpack(f"<{len(packed) // 4}I", packed)
                family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
                text = socket.inet_ntop(family, struct.pack(f">{len(words)}I", *words))
                yield (text, int(port, 16)), fields[9]


def test_who_listens_does_so_on_the_chosen_interface(target: Target) -> None:
    target.check_answers()
    found = listeners(target)
    raylets = [node.process.pid for node in target.nodes]
    far = {pid for pid in family(raylets[1]) if pid != raylets[1]}
    workers = [pid for pid in found.values() if pid in far]
    assert workers  # the program's calls have led to direct links
    assert len(workers) == len(set(workers))  # one port each
    planes = 2 if HAS_PLANE else 0  # of each raylet, for large objects
    assert len(found) == 3 + planes + len(workers)
    assert {ip for ip, _ in found} == {"127.0.0.1", "127.0.0.2"}
    at: dict[int, set[str]] = {}
    for (ip, _), pid in found.items():
        at.setdefault(pid, set()).add(ip)
    assert all(at[pid] == {"127.0.0.2"} for pid in (raylets[1], *workers))
    others = set(at) - {raylets[1], *workers}
    assert all(at[pid] == {"127.0.0.1"} for pid in others)
    assert len(others - set(raylets)) == 1  # the head


def greeting(mechanism: bytes) -> bytes:
    """The first 64 bytes of ZMTP 3.1 (https://rfc.zeromq.org/spec/37)."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes(32)


def frame(flags: int, body: bytes, claimed: int | None = None) -> bytes:
    length = len(body) if claimed is None else claimed
    return struct.pack(">BQ", flags | 2, length) + body


SCANS: dict[str, list[bytes]] = {
    "connects and leaves": [b""],
    "speaks HTTP": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    "speaks TLS": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2],
    "sends noise": [os.urandom(1 << 16)],
    "sends half a greeting": [greeting(b"CURVE")[:17]],
    "offers no encryption": [greeting(b"NULL"), frame(4, b"\x05READY"), frame(0, b"x" * 100)],
    "offers a password": [greeting(b"PLAIN"), frame(4, b"\x05HELLO\x05admin\x05admin")],
    "claims a frame of 2^62 bytes": [greeting(b"CURVE"), frame(0, b"x" * 1000, 1 << 62)],
    "claims a command of 2^40 bytes": [greeting(b"CURVE"), frame(4, b"\x05HELLO", 1 << 40)],
    "sends a false hello": [greeting(b"CURVE"), frame(4, b"\x05HELLO\x01\x00" + bytes(192))],
    "skips the handshake": [greeting(b"CURVE"), frame(4, b"\x07MESSAGE" + bytes(100))],
}


def scan(endpoint: Endpoint, data: list[bytes]) -> bytes:
    """What a listener says to a scanner that does not understand it."""
    said = b""
    with socket.create_connection(endpoint, timeout=5) as sock:
        sock.settimeout(0.2)
        try:
            for piece in data:
                sock.sendall(piece)
            if data == [b""]:
                return said
            while more := sock.recv(65536):
                said += more
        except OSError:
            pass
    return said


def test_a_port_scanner_gets_nothing_and_disturbs_nothing(target: Target) -> None:
    said: list[bytes] = []

    def attack() -> None:
        for endpoint in listeners(target):
            said.extend(scan(endpoint, data) for data in SCANS.values())

    target.while_it_works(attack)
    secret = [target.key.cluster_id.encode(), target.key.node.public, *target.secrets()]
    for answer in said:
        assert len(answer) <= 64 + 256  # a greeting, and perhaps that there is an error
        assert not any(each in answer for each in secret)


def test_connections_that_are_left_half_open_keep_nobody_out(target: Target) -> None:
    held: list[socket.socket] = []

    def attack() -> None:
        for endpoint in listeners(target):
            for i in range(100):
                sock = socket.create_connection(endpoint, timeout=5)
                if i % 2:
                    sock.sendall(greeting(b"CURVE")[: i % 64])
                held.append(sock)
        # A new node and a new observer still come in.
        node = target.cluster.add_node()
        target.cluster.wait_for_nodes(3)
        target.cluster.remove_node(node)

    try:
        target.while_it_works(attack)
    finally:
        for sock in held:
            sock.close()


def _client(target: Target, set_up: Callable[[zmq.Socket[bytes]], None]) -> int:
    """How many ZeroMQ clients hear anything from a listener that they send messages to."""
    message = cluster.EndCluster("as a stranger wishes")
    poller = zmq.Poller()
    with contextlib.ExitStack() as held:
        context = held.enter_context(zmq.Context())
        for ip, port in listeners(target):
            for kind in (zmq.DEALER, zmq.REQ):
                sock = held.enter_context(context.socket(kind))
                sock.setsockopt(zmq.LINGER, 0)
                set_up(sock)
                sock.connect(f"tcp://{ip}:{port}")
                for to in (HEAD, raylet_of(1), make_address(1, 1)):
                    if kind == zmq.DEALER or to == HEAD:
                        with contextlib.suppress(zmq.Again):  # turned away already
                            sock.send(codec.encode(to, raylet_of(2), message), zmq.NOBLOCK)
                poller.register(sock, zmq.POLLIN)
        return len(poller.poll(500))


def test_a_client_without_encryption_is_not_heard(target: Target) -> None:
    target.while_it_works(lambda: _check_silence(target, lambda _: None))


def test_a_client_with_another_key_is_not_heard(target: Target) -> None:
    """It even knows the head's public key, which is no secret."""
    keys = new_key_pair()

    def set_up(sock: zmq.Socket[bytes]) -> None:
        sock.curve_publickey = keys.public
        sock.curve_secretkey = keys.secret
        sock.curve_serverkey = target.key.head_public

    target.while_it_works(lambda: _check_silence(target, set_up))


def _check_silence(target: Target, set_up: Callable[[zmq.Socket[bytes]], None]) -> None:
    assert _client(target, set_up) == 0


def _register(target: Target, **changes: object) -> str:
    """What the head says to somebody with the node's key who says something wrong."""
    info = NodeInfo(0, "ab" * 28, "127.0.0.9", "stranger", [("127.0.0.9", 1)], bytes(40),
                    {"CPU": 10_000_000}, {}, 0, False, 0, "")  # fmt: skip
    right = cluster.RegisterNode(
        target.key.cluster_id, cluster.PROTOCOL, _python(), node_config.rayhpc_version(), info
    )
    wrong = msgspec.structs.replace(right, **changes)
    decode = codec.Decoder((cluster.Registered, cluster.RegistrationRefused))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = HeadLink(context, target.key)
    try:
        link.send_frame(codec.encode(HEAD, 0, wrong))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for answer in link.receive():
                message = decode(answer)
                assert isinstance(message, cluster.RegistrationRefused)
                return str(message.reason)
            for sock in link.sockets:
                sock.poll(10)
        return "no answer"
    finally:
        link.close()
        context.destroy(linger=0)


def _python() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cluster_id": new_cluster_id()}, "key file"),
        ({"protocol": cluster.PROTOCOL + 1}, "same version"),
        ({"version": "0.0.0"}, "same version"),
        ({"python": "2.7"}, "Python 2.7"),
    ],
)
def test_the_right_key_and_a_wrong_hello(
    target: Target, changes: dict[str, object], words: str
) -> None:
    answers: list[str] = []
    target.while_it_works(lambda: answers.append(_register(target, **changes)))
    assert words in answers[0]


def test_the_right_key_and_no_hello(target: Target) -> None:
    """Whoever has not been let in ends nothing, whatever address he says he speaks from."""

    def attack() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        link = HeadLink(context, target.key)
        for source in (0, raylet_of(1), raylet_of(2), make_address(1, 1)):
            for message in (cluster.EndCluster("now"), leases.NodeGone(2, "so it seems")):
                link.send_frame(codec.encode(HEAD, source, message))
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            list(link.receive())
            link.sockets[0].poll(20)
        link.close()
        context.destroy(linger=0)

    target.while_it_works(attack)
