"""Sockets: the options that lose nothing, and TCP that cannot be had without encryption."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

import rayhpc
from rayhpc.wire import sockets
from rayhpc.wire.keys import new_key_pair
from tests.wire.helpers import LOOPBACK


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


def test_every_socket_has_the_options_that_lose_nothing(context: sockets.Context) -> None:
    keys = new_key_pair()
    made = [
        sockets.make_router(context, routing_id=b"r"),
        sockets.make_tcp_server(context, keys, b"domain"),
        sockets.make_tcp_client(context, zmq.ROUTER, keys, routing_id=b"c"),
        sockets.make_tcp_client(context, zmq.DEALER, keys, routing_id=b"c"),
    ]
    for sock in made:
        assert sock.getsockopt(zmq.SNDHWM) == sock.getsockopt(zmq.RCVHWM) == 0
        assert sock.getsockopt(zmq.MAXMSGSIZE) == sockets.MAX_FRAME_BYTES
        assert sock.getsockopt(zmq.LINGER) == sockets.LINGER
        assert sock.getsockopt(zmq.RECONNECT_IVL) == sockets.NEVER
    for sock in made[1:]:
        assert sock.getsockopt(zmq.MECHANISM) == zmq.CURVE
        assert sock.getsockopt(zmq.HEARTBEAT_IVL) == sockets.HEARTBEAT
        assert sock.getsockopt(zmq.TCP_KEEPALIVE) == 1


def test_only_this_package_makes_sockets() -> None:
    root = Path(rayhpc.__file__).parent
    makers = re.compile(r"\.socket\(zmq\.|\bzmq\.asyncio\b|\b(context|ctx)\.socket\(")
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if makers.search(path.read_text())
    }
    assert found <= {"wire/sockets.py", "wire/zap.py"}  # ZAP's is in-process


def test_tcp_without_encryption_cannot_be_made(context: sockets.Context) -> None:
    keys = new_key_pair()
    plain = sockets.make_router(context, routing_id=b"plain")
    with pytest.raises(ValueError, match="make_tcp_server"):
        sockets.bind_tcp(plain, LOOPBACK, 0, None)
    with pytest.raises(ValueError, match="make_tcp_client"):
        sockets.connect_tcp(plain, LOOPBACK, 1, keys.public, b"name")
    client = sockets.make_tcp_client(context, zmq.ROUTER, keys, routing_id=b"c")
    with pytest.raises(ValueError, match="make_tcp_server"):
        sockets.bind_tcp(client, LOOPBACK, 0, None)
    with pytest.raises(ValueError):
        sockets.connect_tcp(client, LOOPBACK, 1, b"", b"name")
    with pytest.raises(ValueError, match="domain"):
        sockets.make_tcp_server(context, keys, b"")


def test_a_server_without_a_judge_lets_nobody_in(context: sockets.Context) -> None:
    keys, node = new_key_pair(), new_key_pair()
    server = sockets.make_tcp_server(context, keys, b"domain")
    port = sockets.bind_tcp(server, LOOPBACK, 0, None)
    client = sockets.make_tcp_client(context, zmq.DEALER, node, routing_id=b"c")
    monitor = client.get_monitor_socket(
        zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED | zmq.Event.CLOSED
    )
    sockets.connect_tcp(client, LOOPBACK, port, keys.public, b"name", 300)
    assert monitor.poll(10_000)
    assert int.from_bytes(monitor.recv_multipart()[0][:2], "little") == zmq.Event.DISCONNECTED
    client.disable_monitor()
    monitor.close()


def test_a_port_of_the_range_is_taken_and_none_left_is_an_error(context: sockets.Context) -> None:
    keys = new_key_pair()
    with socket.socket() as taken, socket.socket() as free:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        free.bind((LOOPBACK, 0))
        busy, port = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        server = sockets.make_tcp_server(context, keys, b"domain")
        assert sockets.bind_tcp(server, LOOPBACK, 0, (port, port)) == port
        with pytest.raises(OSError, match="give a wider range with --port-range"):
            sockets.bind_tcp(server, LOOPBACK, 0, (busy, busy))
        with pytest.raises(OSError) as caught:
            sockets.bind_tcp(server, LOOPBACK, busy, None)
        assert caught.value.errno == errno.EADDRINUSE


def test_what_a_peer_said_before_it_closed_is_still_read(tmp_path: Path) -> None:
    """With RECONNECT_IVL -1 libzmq would throw it away."""
    theirs, ours = zmq.Context(), zmq.Context()
    path = str(tmp_path / "s")
    server = sockets.make_router(theirs, routing_id=b"server")
    sockets.bind_ipc(server, path)
    client = sockets.make_router(ours, routing_id=b"client")
    sockets.connect_ipc(client, path, b"@1")
    assert sockets.send_to(client, b"@1", b"hello")
    monitor = client.get_monitor_socket(zmq.Event.DISCONNECTED)
    assert server.recv_multipart() == [b"client", b"hello"]
    for number in range(100):
        assert sockets.send_to(server, b"client", b"%d" % number)
    theirs.destroy(linger=1000)
    assert monitor.poll(10_000)
    found = []
    while sockets.has_input(client):
        found.append(client.recv_multipart()[1])
    assert found == [b"%d" % x for x in range(100)]
    client.disable_monitor()
    monitor.close()
    ours.destroy(linger=0)


def test_a_peer_that_is_not_there_is_told(context: sockets.Context, tmp_path: Path) -> None:
    router = sockets.make_router(context, routing_id=b"me")
    assert not sockets.send_to(router, b"nobody", b"hello")
    path = str(tmp_path / "s")
    sockets.connect_ipc(router, path, b"@1")  # nobody listens
    sockets.disconnect_ipc(router, path)
    sockets.disconnect_ipc(router, path)


def test_an_ipc_path_that_is_too_long_is_refused_with_the_remedy(
    context: sockets.Context, tmp_path: Path
) -> None:
    router = sockets.make_router(context, routing_id=b"me")
    with pytest.raises(OSError, match="shorter name"):
        sockets.bind_ipc(router, str(tmp_path / ("x" * 120)))
