"""Routes out of this node: to its processes, to other raylets, to the head.

Used by `main`.  Forwards frames by their first 16 bytes without decoding them, and returns those
for the raylet itself.  A process that sends to a node that is gone is told so: it may have started
after everyone else was told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Set
from typing import Any

import msgspec
import zmq

from rayhpc.raylet.head_line import HeadLine
from rayhpc.wire import codec, sockets
from rayhpc.wire.address import Address, NodeNumber, node_of, raylet_of, routing_id
from rayhpc.wire.keys import KeyPair
from rayhpc.wire.links import Links
from rayhpc.wire.messages.leases import NodeGone
from rayhpc.wire.transport import socket_path

# Frames taken from one side before the others get their turn.
TURN = 500
_NAME_BYTES = len(routing_id(0))


class Router:
    """All of a raylet's sockets.

    Args:
        context: the raylet's ZeroMQ context.
        me: its address.
        session_dir: the session's directory, where its processes find it.
        links: the links to other raylets.
        head: the line to the head.
        ipc_key: what the processes of this node prove to each other; None: the directory is enough.
    """

    def __init__(
        self,
        context: sockets.Context,
        me: Address,
        session_dir: str,
        links: Links,
        head: HeadLine,
        ipc_key: KeyPair | None = None,
    ) -> None:
        self._me = me
        self._node = node_of(me)
        self._links = links
        self.head = head
        self._gone: dict[NodeNumber, str] = {}
        self._names: dict[Address, bytes] = {}
        self._to_myself: deque[bytes] = deque()
        self._local = sockets.make_router(context, routing_id=routing_id(me))
        if ipc_key is not None:
            sockets.protect_server(self._local, ipc_key)
        sockets.bind_ipc(self._local, socket_path(session_dir, 0))
        links.named(me)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Everything to poll for reading."""
        return [self._local, *self._links.sockets, *self.head.sockets]

    def send(self, destination: Address, message: msgspec.Struct) -> None:
        """Send a message from this raylet."""
        self._pass_on(destination, codec.encode(destination, self._me, message))

    def receive(self, ready: Set[Any]) -> Iterator[bytes]:
        """The frames for this raylet; all others are forwarded.

        Asks only those of `sockets` that a poll has found readable: to ask one takes 1 µs.
        """
        while self._to_myself:
            yield self._to_myself.popleft()
        if self._local in ready:
            yield from self._receive_local()
        for frame in self._links.receive_from(ready):
            destination = codec.destination_of(frame)
            if destination == self._me:
                yield frame
            elif node_of(destination) == self._node:
                self._pass_on(destination, frame)
        for frame in self.head.receive():
            destination = codec.destination_of(frame)
            if destination == self._me:
                yield frame
            elif node_of(destination) == self._node:  # anything else would circulate forever
                self._pass_on(destination, frame)

    def has_input(self) -> bool:
        """Whether something for this raylet is waiting that no poll would report."""
        return bool(self._to_myself)

    def forget_process(self, address: Address) -> None:
        """A process of this node has ended."""
        self._names.pop(address, None)

    def forget_node(self, node: NodeNumber, reason: str) -> None:
        """Another node is gone."""
        self._gone[node] = reason
        self._links.forget(node)

    def close(self) -> None:
        """Close the route to this node's processes; what was sent goes out first (bounded)."""
        self._local.close()

    def _receive_local(self) -> Iterator[bytes]:
        local = self._local
        for _ in range(TURN):
            if not sockets.has_input(local):
                return
            name = local.recv()
            frame = local.recv()
            sockets.skip_rest(local)
            source = int.from_bytes(name[1:_NAME_BYTES], "big")
            self._names[source] = name
            destination = codec.destination_of(frame)
            if destination == self._me:
                yield frame
            else:
                self._pass_on(destination, frame)

    def _pass_on(self, destination: Address, frame: bytes) -> None:
        node = node_of(destination)
        if destination == self._me:
            self._to_myself.append(frame)
        elif node == self._node:
            name = self._names.get(destination) or routing_id(destination)
            # A dead process is no error: everyone concerned is told of its death.
            sockets.send_to(self._local, name, frame)
        elif node == 0:
            self.head.send_frame(frame)
        elif node in self._gone:
            self._say_gone(codec.source_of(frame), node)
        else:
            self._links.send_frame(raylet_of(node), frame)

    def _say_gone(self, source: Address, node: NodeNumber) -> None:
        if node_of(source) == self._node and source != self._me:
            self.send(source, NodeGone(node, self._gone[node]))
