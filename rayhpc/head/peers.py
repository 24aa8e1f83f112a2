"""The head's end of its lines to the raylets: whose connection is whose, what is on its way.

Used by `main` and the simulation.  What a turn has to say is held back until the turn's changes are
in the database (`flush`), and what counts is kept there as well until the raylet has confirmed it:
a head that comes back sends it again to whom it has not reached, and knows which of a raylet's
messages it has handled (`wire.numbered`).  A node that has made another connection is heard over
that one alone: what it sent before and had not been handled comes again.  Never touches a socket.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import msgspec

from rayhpc.head.ledger import NUMBER_BYTES, Ledger, encode, number_key, number_of
from rayhpc.wire import codec, sockets
from rayhpc.wire.address import HEAD, Address, NodeNumber, node_of, raylet_of
from rayhpc.wire.messages import cluster
from rayhpc.wire.numbered import PASSING, Numbered, is_passing

_decode_frames = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_counts = msgspec.msgpack.Decoder(tuple[int, int]).decode


class _Line:
    """One raylet: what is counted and kept, and the rows that this is in."""

    def __init__(self, number: NodeNumber, ledger: Ledger, counts: tuple[int, int]) -> None:
        self.numbered: Numbered[bytes] = Numbered(*counts)
        # Kept, but in no row yet.
        self.fresh: list[bytes] = []
        # When the request over its present connection was sent, by the raylet's clock.
        self.asked = -math.inf
        self._number = number
        self._ledger = ledger
        # (key, number of its last frame), oldest first.
        self._rows: deque[tuple[bytes, int]] = deque()

    def keep(self, frame: bytes) -> None:
        self.numbered.keep(frame)
        self.fresh.append(frame)
        self.touch()

    def touch(self) -> None:
        self._ledger.touch("lines", number_key(self._number), self._counts)

    def restore(self, key: bytes, frames: list[bytes]) -> None:
        self.numbered.restore(frames)
        self._rows.append((key, number_of(key[NUMBER_BYTES:]) + len(frames) - 1))

    def write(self) -> None:
        """Put what is fresh into a row."""
        key = number_key(self._number) + number_key(self.numbered.sent - len(self.fresh) + 1)
        self._ledger.put("outbox", key, encode(self.fresh))
        self._rows.append((key, self.numbered.sent))
        self.fresh = []

    def confirm(self, received: int) -> None:
        self.numbered.confirm(received)
        while self._rows and self._rows[0][1] <= received:
            self._ledger.drop("outbox", self._rows.popleft()[0])

    def drop(self) -> None:
        for key, _ in self._rows:
            self._ledger.drop("outbox", key)
        self._ledger.drop("lines", number_key(self._number))

    def _counts(self) -> bytes:
        return encode((self.numbered.sent, self.numbered.received))


class Peers:
    """All lines of one head.

    Args:
        transmit: sends a frame over a connection, or drops it if that is gone.
        ledger: keeps what must outlive this process.
    """

    def __init__(self, transmit: Callable[[bytes, bytes], object], ledger: Ledger) -> None:
        self._transmit = transmit
        self._ledger = ledger
        self._lines: dict[NodeNumber, _Line] = {}
        self._number_of: dict[bytes, NodeNumber] = {}
        self._peer_of: dict[NodeNumber, bytes] = {}
        # Connections that stand, and in whose place their nodes have made others.
        self._replaced: set[bytes] = set()
        # This turn's frames: (connection, frame).
        self._out: list[tuple[bytes, bytes]] = []
        self._fresh: dict[NodeNumber, _Line] = {}
        self._last: msgspec.Struct | None = None
        self._last_body = b""
        for key, counts in ledger.rows("lines"):
            number = number_of(key)
            self._lines[number] = _Line(number, ledger, _decode_counts(counts))
        for key, frames in ledger.rows("outbox"):
            self._lines[number_of(key[:NUMBER_BYTES])].restore(key, _decode_frames(frames))

    # -- connections -----------------------------------------------------------------------------
    def number_of(self, peer: bytes) -> NodeNumber | None:
        """The node at the other end of a connection; None: it has not introduced itself."""
        return self._number_of.get(peer)

    def is_replaced(self, peer: bytes) -> bool:
        """Whether the node at the other end has made another connection, and this one is over."""
        return peer in self._replaced

    def is_overtaken(self, message: cluster.RejoinNode) -> bool:
        """Whether the node has sent another request since, over its present connection."""
        line = self._lines.get(message.number)
        return line is not None and message.sent <= line.asked

    def received(self, number: NodeNumber) -> int:
        """How many of a node's messages have been handled."""
        line = self._lines.get(number)
        return 0 if line is None else line.numbered.received

    def welcome(self, peer: bytes, answer: cluster.Registered) -> None:
        """A node has registered."""
        self._connect(peer, answer.number)
        line = self._lines.setdefault(answer.number, _Line(answer.number, self._ledger, (0, 0)))
        line.touch()
        self.answer(peer, answer)
        # It may have registered with an earlier life of the head, without hearing of it.
        self._out.extend((peer, frame) for frame in line.numbered.missing(0))

    def resume(self, peer: bytes, message: cluster.RejoinNode, answer: cluster.Rejoined) -> None:
        """A node has come back: it gets what it has missed."""
        self._connect(peer, message.number)
        line = self._lines[message.number]
        line.asked = message.sent
        line.confirm(message.received)
        self.answer(peer, answer, raylet_of(message.number))
        self._out.extend((peer, frame) for frame in line.numbered.missing(message.received))

    def _connect(self, peer: bytes, number: NodeNumber) -> None:
        before = self._peer_of.get(number)
        if before is not None:
            del self._number_of[before]
            self._replaced.add(before)
        self._number_of[peer] = number
        self._peer_of[number] = peer

    def lost(self, peer: bytes) -> NodeNumber | None:
        """A connection is gone; returns the node that has none any more, if any."""
        self._replaced.discard(peer)
        number = self._number_of.pop(peer, None)
        if number is not None:
            self._peer_of.pop(number, None)
        return number

    def forget(self, number: NodeNumber) -> None:
        """A node is gone for good: nothing is kept for it any more."""
        line = self._lines.pop(number, None)
        self._fresh.pop(number, None)
        if line is not None:
            line.drop()

    # -- messages --------------------------------------------------------------------------------
    def count(self, number: NodeNumber, frame: bytes) -> None:
        """A frame of a node is about to be handled, whatever comes of it."""
        line = self._lines.get(number)
        if line is not None and not is_passing(frame):
            line.numbered.received += 1
            line.touch()

    def confirm(self, number: NodeNumber, received: int) -> None:
        """A node says how many of our messages it has."""
        line = self._lines.get(number)
        if line is not None:
            line.confirm(received)

    def answer(self, peer: bytes, message: msgspec.Struct, address: Address = HEAD) -> None:
        """Say something to whoever is at the other end of a connection.

        `address`: the raylet's, once it has one: it routes every frame by that.
        """
        self._out.append((peer, codec.encode(address, HEAD, message)))

    def send(self, address: Address, message: msgspec.Struct) -> None:
        """Send at the turn's end; a message that goes to many nodes in a row is encoded once.

        Raises:
            ValueError: it is larger than any receiver accepts.
        """
        number = node_of(address)
        line, peer = self._lines.get(number), self._peer_of.get(number)
        if line is None and peer is None:
            return
        if line is not None and isinstance(message, cluster.HeadAlive):
            message = cluster.HeadAlive(line.numbered.received, message.heard)
        if message is not self._last:
            self._last_body = codec.encode(HEAD, HEAD, message)[codec.HEADER_BYTES :]
            self._last = message
        frame = (address << 64 | HEAD).to_bytes(codec.HEADER_BYTES, "big") + self._last_body
        sockets.check_frame(frame)
        if line is not None and not isinstance(message, PASSING):
            line.keep(frame)
            self._fresh[number] = line
        if peer is not None:
            self._out.append((peer, frame))

    def flush(self) -> None:
        """The turn is over: write what has changed, then let out what was to be sent."""
        fresh, self._fresh = self._fresh, {}
        for line in fresh.values():
            line.write()
        self._ledger.commit()
        out, self._out = self._out, []
        for peer, frame in out:
            self._transmit(peer, frame)
