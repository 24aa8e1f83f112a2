"""One raylet's line to another, over one connection after another; a state machine apart from
sockets.

Used by `links`, which carries out its decisions.  Frames are counted by both ends and kept until
the other has acknowledged them (`numbered`).  Over a new connection each end first says how many it
has (`LinkHello`, `LinkWelcome`) and then gets what is missing: nothing is lost and nothing comes
twice.  Either end may make a connection, and both do when one breaks: the newest is used, and of
two made at the same time that of the node with the lower number.  What still comes over another
connection is ignored, since it comes again.  Never decides that a node is dead.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

from rayhpc.wire import codec, messages
from rayhpc.wire.address import HEAD, NodeNumber, raylet_of
from rayhpc.wire.messages import links
from rayhpc.wire.numbered import Numbered

# A receiver acknowledges after this many frames or bytes.
ACK_FRAMES = 32
ACK_BYTES = 64 * 1024
# The destination of frames that concern the line itself.
_CONTROL = HEAD.to_bytes(8, "big")

# A connection, whatever it is.
Via = TypeVar("Via", contravariant=True)
_decode = codec.Decoder(messages.LINE_TAKES)


class LineIO(Protocol[Via]):
    """What a line needs from the outside world."""

    def transmit(self, via: Via, frame: bytes) -> bool:
        """Send a frame over a connection; False: it has ended."""

    def hang_up(self, node: NodeNumber) -> None:
        """End our own attempt to reach a node, or the connection that came of it, if any."""

    def is_up(self, node: NodeNumber) -> None:
        """A connection to a node is in use from now on."""


class PeerLine(Generic[Via]):
    """The line to one other raylet.

    Args:
        me: this node.
        node: the other one.
        io: the connections.

    Attributes:
        via: the connection in use; None: what is sent is kept until there is one.
        greeted: the connection that this end has made, while it is not answered.
    """

    def __init__(self, me: NodeNumber, node: NodeNumber, io: LineIO[Via]) -> None:
        self.via: Via | None = None
        self.greeted: Via | None = None
        self._me = me
        self._node = node
        self._io = io
        self._numbered: Numbered[bytes] = Numbered()
        self._acknowledged = 0
        self._unacknowledged_bytes = 0
        # The last greeting of this end, and of the other one.
        self._greeting = 0
        self._newest = 0

    def send(self, frame: bytes) -> bool:
        """Send a frame now or when there is a connection; False: the one in use has ended."""
        self._numbered.keep(frame)
        return self.via is None or self._io.transmit(self.via, frame)

    def connected(self, via: Via) -> None:
        """This end has made a connection."""
        self.greeted = via
        self._greeting += 1
        self._say(via, links.LinkHello(self._greeting, self._numbered.received))

    def uses(self, via: Via) -> bool:
        """Whether the end of a connection is a matter of this line."""
        return via in (self.via, self.greeted)

    def broke(self) -> None:
        """The connection has ended."""
        self.via = self.greeted = None

    def take(self, via: Via, frame: bytes) -> bytes | None:
        """Take a frame that has come; returns it unless it concerns the line or comes again.

        Raises:
            msgspec.DecodeError: it concerns the line, and is malformed.
        """
        if frame[:8] == _CONTROL:
            self._take_control(via, _decode(frame))
            return None
        if via != self.via:
            return None
        numbered = self._numbered
        numbered.received += 1
        self._unacknowledged_bytes += len(frame)
        if (
            self._unacknowledged_bytes >= ACK_BYTES
            or numbered.received - self._acknowledged >= ACK_FRAMES
        ):
            self._acknowledged = numbered.received
            self._unacknowledged_bytes = 0
            self._say(via, links.LinkAck(numbered.received))
        return frame

    def _take_control(self, via: Via, message: msgspec.Struct) -> None:
        if isinstance(message, links.LinkHello):
            self._on_hello(via, message)
        elif isinstance(message, links.LinkWelcome):
            if via == self.greeted:
                self._newest = max(self._newest, message.number)
                self._use(via, message.received)
        elif isinstance(message, links.LinkAck) and via == self.via:
            self._numbered.confirm(message.received)

    def _on_hello(self, via: Via, message: links.LinkHello) -> None:
        if message.number <= self._newest:
            return
        self._newest = message.number
        if self.greeted is not None and self._me < self._node:
            return  # both ends have made a connection: ours is used
        self._io.hang_up(self._node)
        self._say(via, links.LinkWelcome(self._greeting, self._numbered.received))
        self._use(via, message.received)

    def _use(self, via: Via, received: int) -> None:
        self.via, self.greeted = via, None
        for frame in self._numbered.missing(received):
            if not self._io.transmit(via, frame):
                break  # its end is about to be noticed
        self._io.is_up(self._node)

    def _say(self, via: Via, message: msgspec.Struct) -> None:
        self._io.transmit(via, codec.encode(HEAD, raylet_of(self._me), message))
