"""How a driver or worker reaches every other process: its sockets and a table of routes.

Used by `runtime.process`, from the thread that leads (`handover.py`).  Never decodes a message
body and never waits: the caller polls.

Processes on the same node are reached directly, connected at the first message; that route is kept,
so messages between two processes stay in order.  It is a stream socket (`local_streams.py`); where
other users have our uid it is ZeroMQ's, with CURVE: then one ROUTER is bound to the process's ipc
path.  Another connects to the raylet, which forwards everything else; to a process of another node
there may be a direct link (`direct_links.py`).
Anything sent to a process before it listens is lost: only listings can name such a process.
A process that has ended never comes back: addresses and route names are used once.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from rayhpc.machine import limits
from rayhpc.wire import sockets
from rayhpc.wire.address import (
    Address,
    NodeNumber,
    node_of,
    process_of,
    raylet_of,
    routing_id,
)
from rayhpc.wire.direct_links import DirectLinks
from rayhpc.wire.direct_sockets import DirectSockets
from rayhpc.wire.keys import KeyPair
from rayhpc.wire.local_streams import LocalStreams
from rayhpc.wire.sockets import Socket
from rayhpc.wire.windows import Windows

# Connections to ended processes that are kept, since their messages may still be unread.
_ENDED_KEPT = 16
# After this many new connections, and at least as many as exist, dead ones are looked for.
_SWEEP_AFTER = 64
# Direct links of one process; beyond that, raylets relay.  A process that may open few files has
# fewer: one for every so many that it may open.
LINKS_MAX = 64
_DESCRIPTORS_FOR_A_LINK = 8
# How many descriptors of others may be ready together with ours.
_OTHERS = 100
# How long what was sent may still go out when a process leaves.
_LINGER_S = 0.5


def socket_path(session_dir: str, process: int) -> str:
    """The ipc path of process number `process` (0: the raylet) in a session's directory."""
    return f"{session_dir}/p/{process:x}"


class Transport:
    """The sockets of one driver or worker.

    Args:
        context: the process's ZeroMQ context.
        me: this process's address.
        session_dir: the session's private directory on this node.
        ips: where to listen for direct links, best first.
        ports: first and last port to listen on (None: the system's choice).
        ipc_key: what the processes of this node prove to each other; None: the directory is enough.

    Attributes:
        windows: how much may be in flight to each process.
        send: sends a message to a process, without waiting.
        links: decides what goes over direct links.
        sockets: poll them (one may be a plain descriptor) for reading, then call `receive_from`.
        ready: frames that have been read, and are to be handled before others.
        epoll: has the descriptors of streams, within the node and to others; more may be added.
        zeromq: those of `sockets` that are ZeroMQ's.
        touched: these have been used since they were last asked: their descriptors may keep silent
            about what has come.  The reader resets it.
    """

    def __init__(
        self,
        context: sockets.Context,
        me: Address,
        session_dir: str,
        ips: Sequence[str] = (),
        ports: sockets.PortRange = None,
        ipc_key: KeyPair | None = None,
    ) -> None:
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
        self.ready: deque[bytes] = deque()
        self.epoll = select.epoll()
        self._streams: LocalStreams | None = None
        self._bound: Socket | None = None
        self._connected = sockets.make_router(context, routing_id=name)
        self.sockets: list[Any] = [self.epoll.fileno(), self._connected]
        if ipc_key is None:
            self._streams = LocalStreams(
                me, self._path, self._send_by_raylet, self.ready, self.epoll
            )
        else:
            sockets.protect_client(self._connected, ipc_key)
            self._bound = self._bind(context, name, ipc_key)
            self.sockets.append(self._bound)
        self.zeromq = [sock for sock in (self._connected, self._bound) if sock is not None]
        self.touched = True
        self._routes: dict[Address, tuple[Socket, bytes]] = {}
        self._open(self._raylet)
        self._direct = DirectSockets(list(ips), ports, self.ready, self.epoll)
        most = limits.descriptors_for(_DESCRIPTORS_FOR_A_LINK, reserved=0, most=LINKS_MAX)
        self.links = DirectLinks(me, self._send_by_raylet, self._direct, most if ips else 0)
        self._direct.links = self.links

    def _transmit(self, destination: Address, frame: bytes) -> bool:
        """Pass a frame to the route to a process; False: nobody can receive it.

        Raises:
            ValueError: it is larger than any receiver accepts.
        """
        if len(frame) > sockets.MAX_FRAME_BYTES:
            sockets.check_frame(frame)
        if destination >> 32 == self._node:
            if self._streams is None or destination == self._raylet:
                return self._send_by_ipc(destination, frame)
            return destination not in self._ended and self._streams.send(destination, frame)
        if process_of(destination):
            return self.links.send(destination, frame)
        return self._send_by_ipc(self._raylet, frame)

    def _send_by_raylet(self, _: Address, frame: bytes) -> bool:
        return self._send_by_ipc(self._raylet, frame)

    def _send_by_ipc(self, hop: Address, frame: bytes) -> bool:
        self.touched = True
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
        for sock in list(self.sockets):
            if type(sock) is int or sockets.has_input(sock):
                yield from self.receive_from(sock)

    def receive_from(self, sock: Any) -> Iterator[bytes]:
        """The frames that have arrived at one of `sockets` found readable by a poll."""
        if type(sock) is int:
            self._read_streams()
        else:
            self._read_ipc(sock)
        ready = self.ready
        while ready:
            yield ready.popleft()

    def is_full(self) -> bool:
        """Whether processes of this node wait until we have a descriptor for them."""
        return self._streams is not None and self._streams.is_full

    def listen_again(self) -> None:
        """Look whether there is one by now."""
        if self._streams is not None:
            self._streams.listen_again()

    def serve(self, fd: int, events: int) -> bool:
        """Read from a descriptor in `epoll` into `ready`; False: it is none of ours."""
        streams = self._streams
        if streams is not None and streams.serve(fd, events):
            return True
        return self._direct.serve(fd, events)

    def _read_streams(self) -> None:
        """Read everything that processes have written to us, except through raylets."""
        self.listen_again()
        own = self._direct.descriptors()
        if self._streams is not None:
            own += self._streams.descriptors()
        for fd, events in self.epoll.poll(0, own + _OTHERS):
            self.serve(fd, events)

    def _read_ipc(self, sock: Socket) -> None:
        self.touched = True
        routes, frames = self._routes, []
        while True:
            name = sock.recv()
            frames.append(sock.recv())
            peer = int.from_bytes(name[1:9], "big")
            if peer not in routes and peer not in self._ended:
                routes[peer] = (sock, name)
            if not sockets.has_input(sock):
                break
        # First: what a process said last is read before the news of its end.
        self._read_streams()
        self.ready.extend(frames)

    def forget(self, address: Address) -> None:
        """Drop the route to a process that has ended; nothing more is sent to it."""
        self._ended.add(address)
        self.touched = True
        self.windows.forget(address)
        self.links.forget(address)
        if self._streams is not None:
            self._streams.forget(address)
        route = self._routes.pop(address, None)
        if route is not None and route[0] is self._connected:
            self._ended_connected.append(address)
            if len(self._ended_connected) > _ENDED_KEPT:
                sockets.disconnect_ipc(self._connected, self._path(self._ended_connected.popleft()))

    def forget_node(self, node: NodeNumber) -> None:
        """Nothing more is sent to the processes of a node that is gone, or read from them."""
        self.touched = True
        self.windows.forget_node(node)
        self.links.forget_node(node)

    def close(self) -> None:
        """Close the sockets; what was sent may still go out for up to half a second."""
        self._direct.close_all(_LINGER_S)
        self.epoll.close()
        if self._streams is not None:
            self._streams.close(_LINGER_S)
        for sock in self.zeromq:
            sock.close(linger=sockets.LINGER)

    def _bind(self, context: sockets.Context, name: bytes, key: KeyPair) -> Socket:
        """Listen for the other processes of this node that know the key."""
        bound = sockets.make_router(context, routing_id=name)
        sockets.protect_server(bound, key)
        sockets.bind_ipc(bound, self._path(self.me))
        return bound

    def _sweep(self) -> None:
        """Drop processes that have ended without our being told: a connection costs 14 KiB."""
        for address in [x for x in self._routes if not os.path.exists(self._path(x))]:
            self.forget(address)
        self._sweep_at = self._opened + max(_SWEEP_AFTER, len(self._routes))

    def _open(self, hop: Address) -> tuple[Socket, bytes]:
        self._opened += 1
        if self._opened >= self._sweep_at:
            self._sweep()
        name = routing_id(hop) + self._opened.to_bytes(4, "big")
        sockets.connect_ipc(self._connected, self._path(hop), name)
        self._routes[hop] = route = (self._connected, name)
        return route

    def _path(self, address: Address) -> str:
        return socket_path(self._session_dir, process_of(address))
