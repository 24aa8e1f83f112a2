"""Which route a process's messages to processes of other nodes take: through the raylets, or over
a direct link; a state machine apart from sockets.

Used by `transport`, and by the simulation.  `direct_sockets` carries out its decisions.  Both
routes keep frames in order, and the route changes without a frame lost, duplicated or overtaken:

* To a link.  After `ASK_AFTER` frames the sender asks the receiver where it listens (`DirectAsk`,
  `DirectOffer`), and dials.  Meanwhile everything goes through the raylets.  Once each end has
  heard the other on the link (`DirectHello`), each says so through the raylets (`DirectBegins`)
  and sends over the link from then on.  The receiver holds back what comes over the link until it
  has read `DirectBegins`, the last frame to come through the raylets.
* Back.  Each end counts the frames it reads from the link, and keeps those it sends until the other
  has acknowledged them.  An end that notices that the link is broken, or is told so, closes it,
  tells its count through the raylets (`DirectEnded`), and holds its frames back.  When it has the
  other's count it resends what is missing, then what it held back, through the raylets.

Whether a process has died is not decided here: `forget` ends everything about it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from rayhpc.wire import codec
from rayhpc.wire.address import HEAD, Address, NodeNumber, node_of
from rayhpc.wire.messages import direct

# Frames to a process before a link to it is worth its cost: a millisecond at both ends.
ASK_AFTER = 8
# After a link has failed or ended, frames until the next is tried; doubled each time,
# until one has carried more frames than that.
ASK_AGAIN_AFTER = 256
_DOUBLED_MOST = 10
# A receiver acknowledges after this many frames or bytes.
ACK_FRAMES = 32
ACK_BYTES = 256 * 1024
# The destination of frames that concern the link itself.
_CONTROL = HEAD.to_bytes(8, "big")

# A link: none, asked for, being dialled, offered to the other end, in use.
NONE, ASKED, DIALING, OFFERED, UP = range(5)
# How frames are sent: through the raylets, over the link, not before the other end's count is here.
RELAYED, DIRECT, HELD = range(3)

# A connection at this end.
Via = bytes
_decode = codec.Decoder((direct.DirectHello, direct.DirectAck))


class LinkIO(Protocol):
    """What direct links need from the outside world."""

    def ask(self, peer: Address) -> bytes:
        """Prepare to dial a process; returns what it has to know for the connection's keys.

        Raises:
            OSError: this process cannot have links.
        """

    def offer(self, peer: Address, key: bytes) -> tuple[list[tuple[str, int]], bytes]:
        """Admit a process that has said `key` (see `ask`), once.

        Returns:
            Where this process listens (opened when first asked for), and what the other has to
            know for the connection's keys.

        Raises:
            OSError: this process cannot listen.
        """

    def dial(self, peer: Address, endpoints: list[tuple[str, int]], key: bytes) -> None:
        """Connect to a process that was asked, with its answer; `connected` or `broke` follows."""

    def hasten(self, peer: Address) -> None:
        """Give up an address of a process being dialled that has been silent for long."""

    def send(self, via: Via, frame: bytes) -> bool:
        """Send a frame over a connection; False: it has ended."""

    def close(self, peer: Address) -> None:
        """End whatever there is with a process: a question, an offer, an attempt, a connection."""


class _Peer:
    """A process to which there is, was, or may soon be a link."""

    __slots__ = (
        "acknowledged",
        "address",
        "begun",
        "early",
        "failures",
        "held",
        "kept",
        "kept_from",
        "number",
        "received",
        "sending",
        "stage",
        "unacknowledged_bytes",
        "via",
    )

    def __init__(self, address: Address) -> None:
        self.address = address
        self.number = 0
        self.stage = NONE
        self.sending = RELAYED
        self.failures = 0
        self.via: Via = b""
        # Sent over the link and not acknowledged; the number of the first of them.
        self.kept: deque[bytes] = deque()
        self.kept_from = 0
        self.held: list[bytes] = []
        self.received = 0
        self.acknowledged = 0
        self.unacknowledged_bytes = 0
        self.begun = 0  # the link of the latest `DirectBegins`
        self.early: list[bytes] = []  # read from the link before that


class DirectLinks:
    """All direct links of one process.

    Args:
        me: this process's address.
        relay: sends a frame through the raylets; False: nobody can receive it.
        io: listens, dials, sends.
        most: the most links at a time.

    Attributes:
        deliver: called with each frame that was held back, in order.
        on_peer: called with a process when a link to it is begun: `forget` must follow its death.
        on_trouble: called with a sentence when links cannot be had.
    """

    def __init__(
        self, me: Address, relay: Callable[[Address, bytes], bool], io: LinkIO, most: int
    ) -> None:
        self._me = me
        self._relay = relay
        self._io = io
        self._most = most
        # How many more frames are relayed before a link is asked for.
        self._patience: dict[Address, int] = {}
        self._peers: dict[Address, _Peer] = {}
        self._by_via: dict[Via, _Peer] = {}
        self.deliver: Callable[[bytes], None] = _nothing
        self.on_peer: Callable[[Address], None] = _nothing
        self.on_trouble: Callable[[str], None] = _nothing

    def handlers(self) -> dict[type, Callable[[Address, Any], None]]:
        """The handlers of messages that come through the raylets."""
        return {
            direct.DirectAsk: self.on_ask,
            direct.DirectOffer: self._on_offer,
            direct.DirectRefused: self._on_refused,
            direct.DirectBegins: self._on_begins,
            direct.DirectEnded: self._on_ended,
        }

    # -- sending ----------------------------------------------------------------------------------
    def send(self, destination: Address, frame: bytes) -> bool:
        """Pass on a frame to a process of another node; False: nobody can receive it."""
        peer = self._peers.get(destination)
        if peer is not None and peer.sending != RELAYED:
            if peer.sending == HELD:
                peer.held.append(frame)
                return True
            peer.kept.append(frame)
            if not self._io.send(peer.via, frame):
                self._end(peer)
            return True
        patience = self._patience.get(destination, ASK_AFTER) - 1
        self._patience[destination] = patience
        if not patience:
            self._ask(destination)
        return self._relay(destination, frame)

    def _tell(self, peer: Address, message: msgspec.Struct) -> None:
        self._relay(peer, codec.encode(peer, self._me, message))

    # -- beginning --------------------------------------------------------------------------------
    def _ask(self, address: Address) -> None:
        peer = self._peer(address)
        # Frames are the clock as well: a dial that nobody answers matters only if more follow.
        self._patience[address] = ASK_AGAIN_AFTER
        if peer.stage == DIALING:
            self._io.hasten(address)
        if peer.stage != NONE:
            return
        if self._is_full():
            self._fail(peer)
            return
        try:
            key = self._io.ask(address)
        except OSError as error:
            self._fail(peer)
            self.on_trouble(error.strerror or str(error))
            return
        peer.stage = ASKED
        peer.number += 1
        self.on_peer(address)
        self._tell(address, direct.DirectAsk(peer.number, key))

    def on_ask(self, source: Address, message: direct.DirectAsk) -> None:
        """Another process wants a link."""
        peer = self._peer(source)
        if peer.stage == ASKED and source < self._me:
            self._close(peer)  # both have asked: the lower address dials
        if peer.stage != NONE:
            return
        peer.number = message.number
        if self._is_full():
            self._tell(source, direct.DirectRefused(message.number, ""))
            return
        try:
            endpoints, key = self._io.offer(source, message.key)
        except OSError as error:
            text = error.strerror or str(error)
            self._tell(source, direct.DirectRefused(message.number, text))
            return
        peer.stage = OFFERED
        self.on_peer(source)
        self._tell(source, direct.DirectOffer(message.number, endpoints, key))

    def _on_offer(self, source: Address, message: direct.DirectOffer) -> None:
        peer = self._peers.get(source)
        if peer is None or peer.stage != ASKED or peer.number != message.number:
            return
        peer.stage = DIALING
        self._io.dial(source, message.endpoints, message.key)

    def _on_refused(self, source: Address, message: direct.DirectRefused) -> None:
        peer = self._peers.get(source)
        if peer is None or peer.stage != ASKED or peer.number != message.number:
            return
        self._close(peer)
        self._fail(peer)
        if message.text:
            self.on_trouble(message.text)

    def connected(self, address: Address, via: Via) -> None:
        """A process that was dialled has been reached: check that it can be talked to."""
        peer = self._peers.get(address)
        if peer is not None and peer.stage == DIALING:
            self._send_control(via, direct.DirectHello(peer.number))

    def _on_hello(self, via: Via, message: direct.DirectHello) -> None:
        peer = self._peers.get(peer_named(via))
        if peer is None or peer.number != message.number:
            return
        if peer.stage == OFFERED:
            if self._send_control(via, message):
                self._begin(peer, via)
        elif peer.stage == DIALING:
            self._begin(peer, via)

    def _begin(self, peer: _Peer, via: Via) -> None:
        peer.stage = UP
        peer.via = via
        self._by_via[via] = peer
        peer.kept_from = peer.received = peer.acknowledged = peer.unacknowledged_bytes = 0
        self._tell(peer.address, direct.DirectBegins(peer.number))
        peer.sending = DIRECT

    # -- receiving --------------------------------------------------------------------------------
    def take(self, via: Via, frame: bytes) -> bytes | None:
        """Take a frame that came over a link; returns it if it can be handled now."""
        peer = self._by_via.get(via)
        if frame[:8] == _CONTROL:
            self._take_control(via, peer, frame)
            return None
        if peer is None:
            return None  # the link has ended: the frame comes again the other way
        peer.received += 1
        peer.unacknowledged_bytes += len(frame)
        if (
            peer.unacknowledged_bytes >= ACK_BYTES
            or peer.received - peer.acknowledged >= ACK_FRAMES
        ):
            peer.acknowledged = peer.received
            peer.unacknowledged_bytes = 0
            self._send_control(via, direct.DirectAck(peer.received))
        if peer.begun == peer.number:
            return frame
        peer.early.append(frame)
        return None

    def _take_control(self, via: Via, peer: _Peer | None, frame: bytes) -> None:
        message = _decode(frame)
        if isinstance(message, direct.DirectHello):
            self._on_hello(via, message)
        elif peer is not None:
            _drop_until(peer, message.received)

    def _send_control(self, via: Via, message: msgspec.Struct) -> bool:
        return self._io.send(via, codec.encode(HEAD, self._me, message))

    def _on_begins(self, source: Address, message: direct.DirectBegins) -> None:
        peer = self._peers.get(source)
        if peer is None or peer.number != message.number:
            return
        peer.begun = message.number
        early, peer.early = peer.early, []
        for frame in early:
            self.deliver(frame)

    # -- ending -----------------------------------------------------------------------------------
    def broke(self, address: Address, via: Via, why: str = "") -> None:
        """A connection has ended and everything that came over it was taken, or dialling failed.

        `why` is for the user, if there is something to fix.
        """
        peer = self._peers.get(address)
        if peer is None or (peer.via != via if peer.stage == UP else peer.stage != DIALING):
            return
        if why and peer.stage == DIALING:
            self.on_trouble(why)
        self._end(peer)

    def _on_ended(self, source: Address, message: direct.DirectEnded) -> None:
        peer = self._peers.get(source)
        if peer is None or peer.number != message.number:
            return
        if peer.stage != NONE:
            self._end(peer)
        if peer.sending == HELD:
            self._relay_all(peer, message.received)

    def _end(self, peer: _Peer) -> None:
        """A link is over at this end, however far it had come."""
        carried = peer.kept_from + len(peer.kept) + peer.received
        if peer.stage == UP and carried > _wait_after(peer.failures):
            peer.failures = 0  # it was worth its cost, and so may the next be
        self._close(peer)
        if peer.sending == DIRECT:
            peer.sending = HELD
        self._fail(peer)
        self._tell(peer.address, direct.DirectEnded(peer.number, peer.received))

    def _relay_all(self, peer: _Peer, received: int) -> None:
        """Send everything that the other end has not read through the raylets."""
        _drop_until(peer, received)
        waiting = [*peer.kept, *peer.held]
        peer.kept.clear()
        peer.held = []
        peer.sending = RELAYED
        for frame in waiting:
            self._relay(peer.address, frame)

    def _close(self, peer: _Peer) -> None:
        if peer.stage != NONE:
            self._io.close(peer.address)
        self._by_via.pop(peer.via, None)
        peer.via = b""
        if peer.stage != UP:
            peer.received = 0
        peer.stage = NONE

    def _fail(self, peer: _Peer) -> None:
        """Try again, but not soon."""
        self._patience[peer.address] = _wait_after(peer.failures)
        peer.failures += 1

    def forget(self, address: Address) -> None:
        """A process has ended: drop its link, and what was kept for it."""
        self._patience.pop(address, None)
        peer = self._peers.pop(address, None)
        if peer is not None:
            self._close(peer)

    def forget_node(self, node: NodeNumber) -> None:
        """Every process of a node has ended, or counts as ended."""
        for address in [x for x in (*self._patience, *self._peers) if node_of(x) == node]:
            self.forget(address)

    # -- details ----------------------------------------------------------------------------------
    def _peer(self, address: Address) -> _Peer:
        found = self._peers.get(address)
        if found is None:
            found = self._peers[address] = _Peer(address)
        return found

    def _is_full(self) -> bool:
        return sum(x.stage != NONE for x in self._peers.values()) >= self._most

    def count(self) -> int:
        """How many links are in use."""
        return len(self._by_via)


def _wait_after(failures: int) -> int:
    """How many frames are relayed before the next attempt."""
    return ASK_AGAIN_AFTER << min(failures, _DOUBLED_MOST)


def peer_named(via: Via) -> Address:
    """The process at the other end of a connection."""
    return int.from_bytes(via[1:9], "big")


def _drop_until(peer: _Peer, received: int) -> None:
    """Drop what the other end has read: this many frames."""
    kept = peer.kept
    while kept and peer.kept_from < received:
        kept.popleft()
        peer.kept_from += 1


def _nothing(_: Any) -> None:
    """The default callback: does nothing."""
