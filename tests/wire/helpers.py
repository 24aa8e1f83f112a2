"""What the tests of `rayhpc.wire` share: polling owners of sockets until something holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import zmq

from rayhpc.wire import codec, sockets
from rayhpc.wire.address import NodeNumber, raylet_of, routing_id
from rayhpc.wire.keys import KeyPair
from rayhpc.wire.messages.windows import Credit
from rayhpc.wire.transport import Transport, socket_path

LOOPBACK = "127.0.0.1"


def poll_until(
    done: Callable[[], bool],
    sockets: Iterable[Any],
    turn: Callable[[], object],
    timeout: float = 60.0,
) -> bool:
    """Run `turn` whenever one of `sockets` has something, until `done()`; False: it never was."""
    poller = zmq.Poller()
    for sock in sockets:
        poller.register(sock, zmq.POLLIN)
    deadline = time.monotonic() + timeout
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        poller.poll(min(left, 1.0) * 1000)
        turn()
    return True


class LocalRaylet:
    """A raylet's end of the connections to its node's processes.

    Args:
        session: the session's directory.
        node: the node.
        ipc_key: what the processes of this node prove to each other.
    """

    def __init__(self, session: str, node: NodeNumber, ipc_key: KeyPair | None = None) -> None:
        self.me = raylet_of(node)
        self._context = zmq.Context()
        self._sock = sockets.make_router(self._context, routing_id=routing_id(self.me))
        if ipc_key is not None:
            sockets.protect_server(self._sock, ipc_key)
        sockets.bind_ipc(self._sock, socket_path(session, 0))
        self.sockets = [self._sock]
        self._names: dict[int, bytes] = {}

    def receive(self) -> Iterator[bytes]:
        """What has arrived for others than the processes of this node, to which it is passed on."""
        while sockets.has_input(self._sock):
            name, frame = self._sock.recv_multipart()
            self._names[codec.source_of(frame)] = name
            if not self.pass_on(frame):
                yield frame

    def hear(self, transport: Transport) -> None:
        """Wait until a process is connected: what is sent to it before is lost."""
        transport.send(self.me, Credit(0))
        known = lambda: transport.me in self._names  # noqa: E731
        assert poll_until(known, self.sockets, lambda: list(self.receive()))

    def pass_on(self, frame: bytes) -> bool:
        """Send a frame to a process of this node; False: it is for another, or unknown."""
        name = self._names.get(codec.destination_of(frame), b"?")
        return sockets.send_to(self._sock, name, frame)

    def close(self) -> None:
        """Close all connections."""
        self._context.destroy(linger=0)
