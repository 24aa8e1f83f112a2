"""How raylets reach each other: one listening socket, one connecting socket, any number of peers.

Used by `raylet`.  A peer is dialled when there is something to send; further frames wait, in order.
A link that breaks is dialled again at once, by both ends, and what has been lost with it is sent
again (`peer_line`); if that fails, `redial` tries once more.  Never waits, never decodes a frame
beyond its address, and never decides that a node is dead: it reports which links are broken and
which are whole again, and the owner decides what follows.  A node that was forgotten never comes
back.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterator, Set
from typing import Any

import msgspec
import zmq

from rayhpc.wire import sockets
from rayhpc.wire.address import HEAD, Address, NodeNumber, node_of, routing_id
from rayhpc.wire.dialing import FAILED, KINDS, Dial, advance
from rayhpc.wire.keys import KeyPair, new_key_pair
from rayhpc.wire.listener import Listener
from rayhpc.wire.messages.common import NodeInfo
from rayhpc.wire.monitor import Monitor
from rayhpc.wire.peer_line import PeerLine
from rayhpc.wire.sockets import Context, PortRange, Socket

logger = logging.getLogger("rayhpc")

_NAME_BYTES = len(routing_id(HEAD)) + 4


# A connection: the socket, and the peer's name there.
_Via = tuple[Socket, bytes]


class _Peer:
    """Another node: how it is reached."""

    __slots__ = ("broken", "dial", "info", "line", "wanted")

    def __init__(self, line: PeerLine[_Via]) -> None:
        self.line = line
        self.info: NodeInfo | None = None
        self.dial: Dial | None = None
        self.wanted = False  # there is, or was, something to send
        self.broken = False


class Links:
    """All links of one raylet.

    Args:
        context: a ZeroMQ context without another listener.
        node_keys: the cluster's client key pair of all nodes.

    Attributes:
        public_key: this listener's own server key, for `NodeInfo.key`.
        sockets: poll them for reading, then call `receive`, then `changes`.
    """

    def __init__(self, context: Context, node_keys: KeyPair) -> None:
        server = new_key_pair()
        self.public_key = server.public
        self._listener = Listener(context, server, {node_keys.public}, b"raylet")
        self._sock = sockets.make_tcp_client(context, zmq.ROUTER, node_keys, routing_id=b"raylet")
        self._monitor = Monitor(self._sock, KINDS)
        self._me = HEAD
        self._numbers = itertools.count(1)
        self._peers: dict[NodeNumber, _Peer] = {}
        self._gone: set[NodeNumber] = set()
        self._in_use: dict[str, Dial] = {}
        self._changes: deque[tuple[NodeNumber, bool]] = deque()
        self.sockets = (*self._listener.sockets, self._sock, self._monitor.socket)

    def listen(self, ips: list[str], port: int, ports: PortRange) -> list[tuple[str, int]]:
        """Listen on every address of `ips` (see `Listener.listen`)."""
        return self._listener.listen(ips, port, ports)

    def named(self, me: Address) -> None:
        """Set this raylet's address, before the first frame is sent."""
        self._me = me

    def learn(self, info: NodeInfo) -> None:
        """Learn where a node listens; what waits for it goes out."""
        if info.number in self._gone:
            return
        peer = self._peer(info.number)
        peer.info = info
        self._reach(peer)

    def redial(self, node: NodeNumber) -> None:
        """Try once more to reach a node whose link is broken, unless that goes on already."""
        peer = self._peers.get(node)
        if peer is not None:
            self._reach(peer)

    def forget(self, node: NodeNumber) -> None:
        """Drop a node that is gone for good, with what waits for it; its frames are ignored."""
        self._gone.add(node)
        peer = self._peers.pop(node, None)
        if peer is not None and peer.dial is not None:
            peer.dial.close()

    # -- sending ----------------------------------------------------------------------------------
    def send_frame(self, address: Address, frame: bytes) -> None:
        """Send a frame to the raylet of `address`'s node; only an answer proves that it arrived.

        For a node that is not known yet, or whose link is broken, the frame waits.

        Raises:
            ValueError: the frame is larger than any receiver accepts.
        """
        sockets.check_frame(frame)
        node = node_of(address)
        if node in self._gone:
            return
        peer = self._peer(node)
        # What waits is unbounded: what processes send is bounded by their windows (`windows.py`),
        # and a full queue says nothing about the node.
        if not peer.line.send(frame):
            self._break(node, peer, "the connection is gone")
        elif not peer.wanted:
            peer.wanted = True
            self._reach(peer)

    def _peer(self, node: NodeNumber) -> _Peer:
        peer = self._peers.get(node)
        if peer is None:
            line: PeerLine[_Via] = PeerLine(node_of(self._me), node, self)
            peer = self._peers[node] = _Peer(line)
        return peer

    def _reach(self, peer: _Peer) -> None:
        wanted = peer.wanted or peer.broken
        if wanted and peer.info is not None and peer.dial is None and peer.line.via is None:
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
        self._sock.setsockopt(zmq.ROUTING_ID, routing_id(self._me) + number)
        return routing_id(node << 32) + number

    # -- for the lines ----------------------------------------------------------------------------
    def transmit(self, via: _Via, frame: bytes) -> bool:
        """Send a frame over a connection; False: it has ended."""
        return sockets.send_to(*via, frame)

    def hang_up(self, node: NodeNumber) -> None:
        """End our attempt to reach a node, or the connection that came of it, if any."""
        peer = self._peers[node]
        if peer.dial is not None:
            peer.dial.close()
            peer.dial = None

    def is_up(self, node: NodeNumber) -> None:
        """A connection to a node is in use from now on."""
        peer = self._peers[node]
        if peer.broken:
            peer.broken = False
            self._changes.append((node, True))
            logger.info("the link to the raylet of node %d is whole again", node)

    # -- receiving --------------------------------------------------------------------------------
    def receive(self) -> Iterator[bytes]:
        """All frames that have arrived, without waiting; also advances dialling."""
        yield from self.receive_from(frozenset(self.sockets))

    def receive_from(self, ready: Set[Any]) -> Iterator[bytes]:
        """As `receive`, but asks only those of `sockets` that a poll has found readable."""
        for name, frame in self._listener.receive_from(ready):
            if len(name) == _NAME_BYTES:
                yield from self._take((self._listener.sock, name), frame)
        if self._sock in ready:
            yield from self._receive_dialled()
        broken = self._look() if self._monitor.socket in ready else []
        if broken:
            # What arrived before the end is read first: it need not come again.
            yield from self._receive_dialled()
            for dial in broken:
                self._on_broken(dial)
        for name in self._listener.lost():
            node = _node_named(name)
            peer = self._peers.get(node)
            if peer is not None and peer.line.uses((self._listener.sock, name)):
                self._break(node, peer, "it closed the connection")

    def changes(self) -> Iterator[tuple[NodeNumber, bool]]:
        """The nodes whose links have changed since the last call: whole again (True), or broken.

        A broken one could also not be established; it is reported once.
        """
        while self._changes:
            yield self._changes.popleft()

    def _receive_dialled(self) -> Iterator[bytes]:
        while sockets.has_input(self._sock):
            name = self._sock.recv()
            frame = self._sock.recv()
            sockets.skip_rest(self._sock)
            yield from self._take((self._sock, name), frame)

    def _take(self, via: _Via, frame: bytes) -> Iterator[bytes]:
        node = _node_named(via[1])
        if node in self._gone:
            return
        try:
            taken = self._peer(node).line.take(via, frame)
        except msgspec.DecodeError as error:
            logger.warning("refused a malformed message about a link: %s", error)
            return
        if taken is not None:
            yield taken

    def _look(self) -> list[Dial]:
        """Advance dialling; returns the broken connections and the attempts that have ended."""
        ended: list[Dial] = []
        for dial in advance(self._monitor.events(), self._in_use):
            if dial.state == FAILED:
                ended.append(dial)
            else:
                peer = self._peers[_node_named(dial.name)]
                peer.line.connected((self._sock, dial.name))
        return ended

    def _on_broken(self, dial: Dial) -> None:
        node = _node_named(dial.name)
        peer = self._peers.get(node)
        if peer is not None and peer.dial is dial:
            self._break(node, peer, dial.describe())

    def _break(self, node: NodeNumber, peer: _Peer, why: str) -> None:
        logger.info("no link to the raylet of node %d: %s", node, why)
        was_up = peer.line.via is not None
        if peer.dial is not None:
            peer.dial.close()
        peer.dial = None
        peer.line.broke()
        if not peer.broken:
            peer.broken = True
            self._changes.append((node, False))
        if was_up:
            self._reach(peer)

    def close(self) -> None:
        """Close all links; what was sent may still go out for up to half a second."""
        self._monitor.close()
        self._sock.close()
        self._listener.close()


def _node_named(name: bytes) -> NodeNumber:
    return int.from_bytes(name[1:9], "big") >> 32
