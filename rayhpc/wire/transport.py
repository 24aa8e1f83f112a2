"""How a driver or worker reaches every other process: two sockets and a table of routes.

Used by `runtime.process`, from the thread that leads (`handover.py`).  Never decodes a message
body and never waits: polling is the caller's.

One ROUTER is bound to the process's ipc path, one connects.  Processes of the same node are
reached directly, over ipc, opened at the first message; everything else goes to the raylet, which
passes it on.  A route once chosen is kept, so messages between two processes keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import zmq

from rayhpc.wire import codec, sockets
from rayhpc.wire.address import Address, node_of, raylet_of, routing_id


def socket_path(session_dir: str, process: int) -> str:
    """The ipc path of process number `process` (0: the raylet) in a session's directory."""
    return f"{session_dir}/p/{process:x}"


class Transport:
    """The sockets of one driver or worker.

    Args:
        context: the process's ZeroMQ context.
        me: this process's address.
        session_dir: the session's private directory on this node.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], me: Address, session_dir: str):
        self.me = me
        self._node = node_of(me)
        self._raylet = raylet_of(self._node)
        self._session_dir = session_dir
        name = routing_id(me)
        self._bound = sockets.make_router(context, routing_id=name)
        self._connected = sockets.make_router(context, routing_id=name)
        sockets.bind_ipc(self._bound, socket_path(session_dir, me & 0xFFFFFFFF))
        self._routes: dict[Address, tuple[zmq.Socket[bytes], bytes]] = {}
        self._open(self._raylet)
        self.sockets = (self._bound, self._connected)

    def send(self, destination: Address, message: msgspec.Struct) -> None:
        """Send a message; whether it arrives only an answer tells (see `protocol.md`)."""
        self.send_frame(destination, codec.encode(destination, self.me, message))

    def send_frame(self, destination: Address, frame: bytes) -> None:
        """Send an encoded frame the same way."""
        local = destination >> 32 == self._node
        hop = destination if local else self._raylet
        route = self._routes.get(hop)
        if route is None:
            route = self._open(hop)
        sock, name = route
        try:
            sock.send(name, zmq.SNDMORE | zmq.NOBLOCK)
            sock.send(frame, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            # The peer is gone: its raylet tells everybody whom that concerns.
            if error.errno != zmq.EHOSTUNREACH:
                raise

    def receive(self) -> Iterator[bytes]:
        """All frames that have arrived, without waiting."""
        for sock in self.sockets:
            while True:
                try:
                    name = sock.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                frame = sock.recv()
                peer = int.from_bytes(name[1:], "big")
                if peer not in self._routes:
                    self._routes[peer] = (sock, name)
                yield frame

    def forget(self, address: Address) -> None:
        """Drop the route to a process that has ended."""
        self._routes.pop(address, None)

    def close(self) -> None:
        """Close the sockets; what was sent goes out for at most half a second."""
        for sock in self.sockets:
            sock.close(linger=500)

    def _open(self, hop: Address) -> tuple[zmq.Socket[bytes], bytes]:
        name = routing_id(hop)
        path = socket_path(self._session_dir, hop & 0xFFFFFFFF)
        sockets.connect_ipc(self._connected, path, name)
        self._routes[hop] = (self._connected, name)
        return self._connected, name
