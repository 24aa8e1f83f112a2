"""Events of a socket's connections, reported by libzmq itself.

Used by `listener.py` and `dialing.py`.  A monitor only reads; its owner polls `socket` and takes
`events`.  libzmq writes an event before acting on it (closing a descriptor, dropping a peer), so
once all events are read, everything that preceded a received message is known.

Never asks for HANDSHAKE_FAILED_PROTOCOL: libzmq (4.3.5) reports with it also a message that does
not decrypt, and while it writes that event it may lose the error.  Then the connection stays, takes
nothing any more, and ends the process at a later heartbeat (`Assertion failed: !_io_error`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import zmq

from rayhpc.wire.sockets import Socket, has_input

UP = int(zmq.Event.HANDSHAKE_SUCCEEDED)
ACCEPTED = int(zmq.Event.ACCEPTED)
OPENED = int(zmq.Event.CONNECTED)
DOWN = int(zmq.Event.DISCONNECTED)
CLOSED = int(zmq.Event.CLOSED)
REFUSED = int(zmq.Event.HANDSHAKE_FAILED_AUTH)
NO_HANDSHAKE = int(zmq.Event.HANDSHAKE_FAILED_NO_DETAIL)

_HEADER = struct.Struct("=HI")


class Event(NamedTuple):
    """One event.

    `value` is the descriptor for ACCEPTED, OPENED and DOWN, `endpoint` a connecting socket's far
    end.  A descriptor's DOWN comes before the OPENED of whoever has it next.
    """

    kind: int
    value: int
    endpoint: str


class Monitor:
    """Monitors one socket.

    Attributes:
        socket: poll it for reading, then take `events`.
    """

    def __init__(self, sock: Socket, kinds: int) -> None:
        self._sock = sock
        self.socket: Socket = sock.get_monitor_socket(kinds)
        self.socket.setsockopt(zmq.LINGER, 0)

    def events(self) -> Iterator[Event]:
        """All events that have arrived, in order."""
        while has_input(self.socket):
            header, endpoint = self.socket.recv_multipart()
            kind, value = _HEADER.unpack(header)
            yield Event(kind, value, endpoint.decode("ascii", "replace"))

    def close(self) -> None:
        """Stop monitoring; call it before closing the monitored socket."""
        self._sock.disable_monitor()
        self.socket.close()
