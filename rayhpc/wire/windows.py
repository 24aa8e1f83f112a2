"""Windows: how many bytes may be in flight from one process to another.

Used by `transport`, for processes, and by the simulation.  A state machine: frames in, frames out
through `transmit`.  Traffic with raylets and the head is not counted: it is small, and they never
stop reading.

Both ends count the bytes of every frame between two processes.  The receiver grants credit for
what it has read; a sender whose window is full holds back further frames, in order, for that
receiver only.  Only a frame to the same receiver ever waits, reading never waits for sending, and
credits need no window: so two processes, or a ring of them, that send to each other with all
windows full continue as soon as they read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from rayhpc.wire import codec, limits
from rayhpc.wire.address import Address, NodeNumber, node_of, process_of
from rayhpc.wire.messages import direct
from rayhpc.wire.messages.windows import Credit

WINDOW_BYTES = 8 * 2**20
# What needs no room, and is not counted by either end.
UNCOUNTED = frozenset({Credit, *direct.RELAYED})


class Windows:
    """All windows of one process, as sender and as receiver.

    Args:
        me: this process's address.
        transmit: sends a frame; False: nobody can receive it.
        size: bytes that may be in flight to one receiver; the last frame may exceed it.

    Attributes:
        waiting_bytes: how many bytes wait for room, in all windows together.
        on_full: called with a receiver when frames begin to wait for it.
        on_room: called with a receiver when no more frames wait for it.
    """

    def __init__(
        self, me: Address, transmit: Callable[[Address, bytes], bool], size: int = WINDOW_BYTES
    ) -> None:
        self._me = me
        self._transmit = transmit
        self._size = size
        self._credit_at = max(1, size // 4)
        # Sent but not credited, by receiver; received but not credited, by sender.
        self._sent: dict[Address, int] = {}
        self._received: dict[Address, int] = {}
        self._waiting: dict[Address, deque[bytes]] = {}
        self._waiting_for: dict[Address, int] = {}
        self.waiting_bytes = 0
        self.on_full: Callable[[Address], None] = _nothing
        self.on_room: Callable[[Address], None] = _nothing

    def send(self, destination: Address, message: msgspec.Struct) -> None:
        """Send a message, or hold it back until the window has room."""
        frame = codec.encode(destination, self._me, message)
        sent = self._sent.get(destination)
        if sent is None:  # nothing has been sent there, or it is not counted
            if not process_of(destination):
                self._transmit(destination, frame)
                return
            sent = 0
        if sent < self._size and destination not in self._waiting:
            if self._transmit(destination, frame):
                self._sent[destination] = sent + len(frame)
            return
        waiting = self._waiting.get(destination)
        if waiting is None:
            waiting = self._waiting[destination] = deque()
            self.on_full(destination)
        waiting.append(frame)
        self.waiting_bytes += len(frame)
        self._waiting_for[destination] = self._waiting_for.get(destination, 0) + len(frame)

    def has_room(self, destination: Address) -> bool:
        """Whether a message sent now goes out at once."""
        return destination not in self._waiting and self._sent.get(destination, 0) < self._size

    def is_behind(self, destination: Address) -> bool:
        """Whether so much waits for this receiver that it is to be sent nothing new.

        What may wait in all (`limits.AHEAD_BYTES`) is shared by those that something waits for.
        """
        if self.waiting_bytes <= limits.AHEAD_BYTES:
            return False
        share = limits.AHEAD_BYTES / len(self._waiting_for)
        return self._waiting_for.get(destination, 0) > share

    def on_received(self, source: Address, size: int) -> None:
        """A frame of this size has been read; credit is granted per quarter of a window."""
        received = self._received.get(source)
        if received is None:  # as in `send`
            if not process_of(source):
                return
            received = 0
        size += received
        if size >= self._credit_at:
            self._transmit(source, codec.encode(source, self._me, Credit(size)))
            size = 0
        self._received[source] = size

    def on_credit(self, source: Address, message: Credit) -> None:
        """A receiver has read: send what waits for it, as far as the window allows."""
        sent = max(0, self._sent.get(source, 0) - message.size)
        waiting = self._waiting.get(source)
        while waiting and sent < self._size:
            frame = waiting.popleft()
            self.waiting_bytes -= len(frame)
            self._waiting_for[source] -= len(frame)
            if self._transmit(source, frame):
                sent += len(frame)
        self._sent[source] = sent
        if waiting is not None and not waiting:
            del self._waiting[source], self._waiting_for[source]
        if sent < self._size:
            self.on_room(source)

    def forget(self, address: Address) -> None:
        """A process has ended: drop its counts and its waiting frames."""
        self._sent.pop(address, None)
        self._received.pop(address, None)
        self._waiting.pop(address, None)
        self.waiting_bytes -= self._waiting_for.pop(address, 0)

    def forget_node(self, node: NodeNumber) -> None:
        """Every process of a node has ended."""
        known = {*self._sent, *self._received, *self._waiting}
        for address in [x for x in known if node_of(x) == node]:
            self.forget(address)


def _nothing(_: Address) -> None:
    """The default: nobody wants to be told."""
