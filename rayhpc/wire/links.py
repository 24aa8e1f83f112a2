"""How raylets reach each other: one listening socket, one connecting socket, any number of peers.

Used by `raylet`.  A peer is dialled when there is something to send; further frames wait, in order.
The first working route to a peer, whichever side dialled, is kept, so frames between two nodes
stay in order.  Never waits, never decodes a frame beyond its address, and never decides that a
node is dead: it reports broken links, and the owner decides what follows.

A broken link stays broken, and frames for it are dropped, until `learn` is called again; a node
that was forgotten never comes back.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterator

import zmq

from rayhpc.wire import sockets
from rayhpc.wire.address import HEAD, Address, NodeNumber, node_of, routing_id
from rayhpc.wire.dialing import FAILED, KINDS, Dial, advance
from rayhpc.wire.keys import KeyPair, new_key_pair
from rayhpc.wire.listener import Listener
from rayhpc.wire.messages.common import NodeInfo
from rayhpc.wire.monitor import Monitor
from rayhpc.wire.sockets import Context, PortRange, Socket

logger = logging.getLogger("rayhpc")

_NAME_BYTES = len(routing_id(HEAD)) + 4


class _Peer:
    """Another node: how it is reached, and what waits to be sent to it."""

    __slots__ = ("broken", "dial", "info", "route", "waiting")

    def __init__(self) -> None:
        self.info: NodeInfo | None = None
        self.route: tuple[Socket, bytes] | None = None
        self.dial: Dial | None = None
        self.waiting: list[bytes] = []
        self.broken = False


class Links:
    """All links of one raylet.

    Args:
        context: a ZeroMQ context without another listener.
        node_keys: the cluster's client key pair of all nodes.

    Attributes:
        public_key: this listener's own server key, for `NodeInfo.key`.
        sockets: poll them for reading, then call `receive`, then `lost`.
    """

    def __init__(self, context: Context, node_keys: KeyPair) -> None:
        server = new_key_pair()
        self.public_key = server.public
        self._listener = Listener(context, server, {node_keys.public}, b"raylet")
        self._sock = sockets.make_tcp_client(context, zmq.ROUTER, node_keys, routing_id=b"raylet")
        self._monitor = Monitor(self._sock, KINDS)
        self._me = routing_id(HEAD)
        self._numbers = itertools.count(1)
        self._peers: dict[NodeNumber, _Peer] = {}
        self._gone: set[NodeNumber] = set()
        self._in_use: dict[str, Dial] = {}
        self._lost: deque[NodeNumber] = deque()
        self.sockets = (*self._listener.sockets, self._sock, self._monitor.socket)

    def listen(self, ips: list[str], port: int, ports: PortRange) -> list[tuple[str, int]]:
        """Listen on every address of `ips` (see `Listener.listen`)."""
        return self._listener.listen(ips, port, ports)

    def named(self, me: Address) -> None:
        """Set this raylet's address, before the first frame is sent."""
        self._me = routing_id(me)

    def learn(self, info: NodeInfo) -> None:
        """Learn where a node listens; what waits for it goes out. Also repairs a broken link."""
        if info.number in self._gone:
            return
        peer = self._peers.setdefault(info.number, _Peer())
        peer.info = info
        peer.broken = False
        if peer.waiting:
            self._dial(peer)

    def forget(self, node: NodeNumber) -> None:
        """Drop a node that is gone for good, with what waits for it; its frames are ignored."""
        self._gone.add(node)
        peer = self._peers.pop(node, None)
        if peer is not None and peer.dial is not None:
            peer.dial.close()

    # -- sending ----------------------------------------------------------------------------------
    def send_frame(self, address: Address, frame: bytes) -> None:
        """Send a frame to the raylet of `address`'s node; only an answer proves that it arrived.

        For a node that is not known yet the frame waits until it is learnt.

        Raises:
            ValueError: the frame is larger than any receiver accepts.
        """
        sockets.check_frame(frame)
        node = node_of(address)
        peer = self._peers.get(node)
        if peer is None:
            if node in self._gone:
                return
            peer = self._peers[node] = _Peer()
        if peer.route is not None:
            if not sockets.send_to(*peer.route, frame):
                self._break(node, peer, "the connection is gone")
        elif not peer.broken:
            self._keep(node, peer, frame)

    def _keep(self, node: NodeNumber, peer: _Peer, frame: bytes) -> None:
        # Unbounded: what processes send is bounded by their windows (`windows.py`), and a full
        # queue says nothing about the node.
        peer.waiting.append(frame)
        if peer.dial is None and peer.info is not None:
            self._dial(peer)

    def _dial(self, peer: _Peer) -> None:
        assert peer.info is not None
        addresses = [(ip, port) for ip, port in peer.info.endpoints]
        node = peer.info.number
        peer.dial = Dial(
            self._sock, addresses, peer.info.key, lambda: self._new_name(node), self._in_use
        )
        if peer.dial.state == FAILED:
            self._break(node, peer, peer.dial.describe())

    def _new_name(self, node: NodeNumber) -> bytes:
        """A name for a peer of the connecting socket, which also sets our own name for that peer.

        Both contain a number, since libzmq accepts no name twice, not even a dead connection's.
        """
        number = next(self._numbers).to_bytes(4, "big")
        self._sock.setsockopt(zmq.ROUTING_ID, self._me + number)
        return routing_id(node << 32) + number

    def _take_route(self, peer: _Peer, sock: Socket, name: bytes) -> None:
        peer.route = (sock, name)
        peer.broken = False
        waiting, peer.waiting = peer.waiting, []
        for frame in waiting:
            sockets.send_to(sock, name, frame)

    # -- receiving --------------------------------------------------------------------------------
    def receive(self) -> Iterator[bytes]:
        """All frames that have arrived, without waiting; also advances dialling."""
        for name, frame in self._listener.receive():
            if len(name) == _NAME_BYTES and self._hear(name):
                yield frame
        yield from self._receive_dialled()
        broken = self._look()
        if broken:
            # What arrived before the end is read first: closing the connection would drop it.
            yield from self._receive_dialled()
            for dial in broken:
                self._on_broken(dial)
        for name in self._listener.lost():
            node = _node_named(name)
            peer = self._peers.get(node)
            if peer is not None and peer.route == (self._listener.sock, name):
                self._break(node, peer, "it closed the connection")

    def lost(self) -> Iterator[NodeNumber]:
        """The nodes whose links have broken, or could not be established, since the last call."""
        while self._lost:
            yield self._lost.popleft()

    def _receive_dialled(self) -> Iterator[bytes]:
        while sockets.has_input(self._sock):
            name = self._sock.recv()
            frame = self._sock.recv()
            sockets.skip_rest(self._sock)
            if _node_named(name) not in self._gone:
                yield frame

    def _hear(self, name: bytes) -> bool:
        """Record the route by which a frame came; False: its node is gone and is ignored."""
        node = _node_named(name)
        if node in self._gone:
            return False
        peer = self._peers.get(node)
        if peer is None:
            peer = self._peers[node] = _Peer()
        if peer.route is None:
            if peer.dial is not None:
                peer.dial.close()
                peer.dial = None
            self._take_route(peer, self._listener.sock, name)
        return True

    def _look(self) -> list[Dial]:
        """Advance dialling; returns the broken connections and the attempts that have ended."""
        ended: list[Dial] = []
        for dial in advance(self._monitor.events(), self._in_use):
            if dial.state == FAILED:
                ended.append(dial)
            else:
                peer = self._peers[_node_named(dial.name)]
                self._take_route(peer, self._sock, dial.name)
        return ended

    def _on_broken(self, dial: Dial) -> None:
        node = _node_named(dial.name)
        peer = self._peers.get(node)
        if peer is not None and peer.dial is dial:
            self._break(node, peer, dial.describe())

    def _break(self, node: NodeNumber, peer: _Peer, why: str) -> None:
        logger.info("no link to the raylet of node %d: %s", node, why)
        if peer.dial is not None:
            peer.dial.close()
        peer.dial = peer.route = None
        peer.waiting = []
        peer.broken = True
        self._lost.append(node)

    def close(self) -> None:
        """Close all links; what was sent may still go out for up to half a second."""
        self._monitor.close()
        self._sock.close()
        self._listener.close()


def _node_named(name: bytes) -> NodeNumber:
    return int.from_bytes(name[1:9], "big") >> 32
