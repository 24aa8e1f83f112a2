"""How a driver or worker reaches every other process: two sockets and a table of routes.

Used by `runtime.process`, from the thread that leads (`handover.py`).  Never decodes a message
body and never waits: the caller polls.

One ROUTER is bound to the process's ipc path, one connects.  Processes on the same node are
reached directly over ipc, connected at the first message; everything else goes to the raylet,
which forwards it.  A route once chosen is kept, so messages between two processes stay in order.
Anything sent to a process before it listens is lost: only listings can name such a process.
A process that has ended never comes back: addresses and route names are used once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator

import zmq

from rayhpc.wire import sockets
from rayhpc.wire.address import Address, node_of, process_of, raylet_of, routing_id
from rayhpc.wire.windows import Windows

# Connections to ended processes that are kept, since their messages may still be unread.
_ENDED_KEPT = 16
# After this many new connections, and at least as many as exist, dead ones are looked for.
_SWEEP_AFTER = 64


def socket_path(session_dir: str, process: int) -> str:
    """The ipc path of process number `process` (0: the raylet) in a session's directory."""
    return f"{session_dir}/p/{process:x}"


class Transport:
    """The sockets of one driver or worker.

    Args:
        context: the process's ZeroMQ context.
        me: this process's address.
        session_dir: the session's private directory on this node.

    Attributes:
        windows: how much may be in flight to each process.
        send: sends a message to a process, without waiting.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], me: Address, session_dir: str):
        self.me = me
        self.windows = Windows(me, self._transmit)
        # Only an answer proves that a message arrived (see `protocol.md`).
        self.send = self.windows.send
        self._node = node_of(me)
        self._opened = 0
        self._sweep_at = _SWEEP_AFTER
        self._ended: set[Address] = set()
        self._ended_connected: deque[Address] = deque()
        self._raylet = raylet_of(self._node)
        self._session_dir = session_dir
        name = routing_id(me)
        self._bound = sockets.make_router(context, routing_id=name)
        self._connected = sockets.make_router(context, routing_id=name)
        sockets.bind_ipc(self._bound, socket_path(session_dir, process_of(me)))
        self._routes: dict[Address, tuple[zmq.Socket[bytes], bytes]] = {}
        self._open(self._raylet)
        self.sockets = (self._bound, self._connected)

    def _transmit(self, destination: Address, frame: bytes) -> bool:
        """Pass a frame to the route to a process; False: nobody can receive it.

        Raises:
            ValueError: it is larger than any receiver accepts.
        """
        if len(frame) > sockets.MAX_FRAME_BYTES:
            sockets.check_frame(frame)
        local = destination >> 32 == self._node
        hop = destination if local else self._raylet
        route = self._routes.get(hop)
        if route is None:
            # A connection is attempted once: one made before the peer listens would stay dead, and
            # whatever it sends later could never be answered.
            if hop in self._ended or not sockets.listens_ipc(self._path(hop)):
                return False
            route = self._open(hop)
        # A dead peer is no error: its raylet tells everyone concerned.
        return sockets.send_to(route[0], route[1], frame)

    def receive(self) -> Iterator[bytes]:
        """All frames that have arrived, without waiting."""
        for sock in self.sockets:
            if sockets.has_input(sock):
                yield from self.receive_from(sock)

    def receive_from(self, sock: zmq.Socket[bytes]) -> Iterator[bytes]:
        """The frames that have arrived at a socket found readable by a poll."""
        routes = self._routes
        while True:
            name = sock.recv()
            frame = sock.recv()
            peer = int.from_bytes(name[1:9], "big")
            if peer not in routes and peer not in self._ended:
                routes[peer] = (sock, name)
            yield frame
            if not sockets.has_input(sock):
                return

    def forget(self, address: Address) -> None:
        """Drop the route to a process that has ended; nothing more is sent to it."""
        self._ended.add(address)
        self.windows.forget(address)
        route = self._routes.pop(address, None)
        if route is not None and route[0] is self._connected:
            self._ended_connected.append(address)
            if len(self._ended_connected) > _ENDED_KEPT:
                sockets.disconnect_ipc(self._connected, self._path(self._ended_connected.popleft()))

    def close(self) -> None:
        """Close the sockets; what was sent may still go out for up to half a second."""
        for sock in self.sockets:
            sock.close(linger=500)

    def _sweep(self) -> None:
        """Drop processes that have ended without our being told: a connection costs 14 KiB."""
        for address in [x for x in self._routes if not os.path.exists(self._path(x))]:
            self.forget(address)
        self._sweep_at = self._opened + max(_SWEEP_AFTER, len(self._routes))

    def _open(self, hop: Address) -> tuple[zmq.Socket[bytes], bytes]:
        self._opened += 1
        if self._opened >= self._sweep_at:
            self._sweep()
        name = routing_id(hop) + self._opened.to_bytes(4, "big")
        sockets.connect_ipc(self._connected, self._path(hop), name)
        self._routes[hop] = route = (self._connected, name)
        return route

    def _path(self, address: Address) -> str:
        return socket_path(self._session_dir, process_of(address))
