"""What happens to a socket's connections, told by libzmq itself.

Used by `listener.py` and `dialing.py`.  A monitor only reads; its owner polls `socket` and takes
`events`.  libzmq writes an event before it does what follows from it (closes a descriptor, drops
a peer), so who has read all events knows all that led to a message it has received.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import zmq

from rayhpc.wire.sockets import Socket, has_input

UP = int(zmq.Event.HANDSHAKE_SUCCEEDED)
ACCEPTED = int(zmq.Event.ACCEPTED)
DOWN = int(zmq.Event.DISCONNECTED)
CLOSED = int(zmq.Event.CLOSED)
REFUSED = int(zmq.Event.HANDSHAKE_FAILED_AUTH)
BAD_PROTOCOL = int(zmq.Event.HANDSHAKE_FAILED_PROTOCOL)
NO_HANDSHAKE = int(zmq.Event.HANDSHAKE_FAILED_NO_DETAIL)

_HEADER = struct.Struct("=HI")


class Event(NamedTuple):
    """One event.

    `value` is the descriptor for ACCEPTED and DOWN, `endpoint` a connecting socket's far end.
    """

    kind: int
    value: int
    endpoint: str


class Monitor:
    """Follows one socket.

    Attributes:
        socket: to be polled for reading; then take `events`.
    """

    def __init__(self, sock: Socket, kinds: int) -> None:
        self._sock = sock
        self.socket: Socket = sock.get_monitor_socket(kinds)
        self.socket.setsockopt(zmq.LINGER, 0)

    def events(self) -> Iterator[Event]:
        """All events that have come, in their order."""
        while has_input(self.socket):
            header, endpoint = self.socket.recv_multipart()
            kind, value = _HEADER.unpack(header)
            yield Event(kind, value, endpoint.decode("ascii", "replace"))

    def close(self) -> None:
        """Stop following; before the followed socket is closed."""
        self._sock.disable_monitor()
        self.socket.close()
