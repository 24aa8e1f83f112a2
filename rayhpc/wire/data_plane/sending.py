"""The source's end of a channel: a thread that seals spans out of the arena into the socket.

Made by `plane` for each connection that the listener admitted.  Nothing is ever read from that
socket: spans are requested over the control plane.  A span is a header, then pieces, each a record
of its own.  The channel ends when it has been idle, when its key has been used enough, when the
peer does not read what it sends, and when it is told to.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from rayhpc.store.arena import Arena
from rayhpc.wire.data_plane import sealing
from rayhpc.wire.data_plane.listening import PURPOSE, Ticket

# token, edition, start, length
HEADER = struct.Struct("!QQQQ")
HEADER_RECORD_BYTES = HEADER.size + sealing.TAG_BYTES

_IDLE_S = 60.0
# The peer is gone if what was sent is not acknowledged for this long (milliseconds).
_USER_TIMEOUT = 10_000
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)


@dataclass(frozen=True, slots=True)
class Span:
    """Part of an object: `length` bytes from its `start`, at `offset` in the arena."""

    token: int
    edition: int
    start: int
    length: int
    offset: int


class Sender:
    """One channel.

    Args:
        arena: where the bytes are.
        ticket: the one that the peer showed.
        sock: its connection.
        sent: called in the channel's thread with a token, when its span's bytes are not needed.
        ended: called there at the end, with the reason: spans not sent by then never will be.
    """

    def __init__(
        self,
        arena: Arena,
        ticket: Ticket,
        sock: socket.socket,
        sent: Callable[[int], None],
        ended: Callable[[str], None],
    ) -> None:
        self.node = ticket.node
        self._arena = arena
        self._ticket = ticket
        self._sock = sock
        self._sent = sent
        self._ended = ended
        self._spans: queue.SimpleQueue[Span | None] = queue.SimpleQueue()
        self._sealer = sealing.Sealer(ticket.down)
        self._record = memoryview(
            bytearray(HEADER_RECORD_BYTES + sealing.PIECE_BYTES + sealing.TAG_BYTES)
        )
        self._thread = threading.Thread(target=self._run, name="rayhpc-send", daemon=True)

    def start(self) -> None:
        """Greet the peer, and send the spans handed to `send`."""
        self._thread.start()

    def send(self, span: Span) -> None:
        """Send a span, after those handed over before."""
        self._spans.put(span)

    def close(self) -> None:
        """End the channel; `ended` is called when the arena is not used any more."""
        self._spans.put(None)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        """Wait for the thread to end."""
        self._thread.join()

    # -- its thread --------------------------------------------------------------------------------
    def _run(self) -> None:
        why = ""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, _USER_TIMEOUT)
            self._greet()
            self._serve()
        except OSError as error:
            why = error.strerror or str(error)
        self._sock.close()
        self._ended(why)

    def _greet(self) -> None:
        greeting = self._record[: sealing.TAG_BYTES]
        self._sealer.seal(b"", greeting, PURPOSE + self._ticket.secret)
        self._sock.sendall(greeting)

    def _serve(self) -> None:
        left = sealing.KEY_BYTES_MAX
        while left > 0:
            try:
                span = self._spans.get(timeout=_IDLE_S)
            except queue.Empty:
                return
            if span is None:
                return
            self._send(span)
            left -= span.length
            self._sent(span.token)

    def _send(self, span: Span) -> None:
        record = self._record
        header = HEADER.pack(span.token, span.edition, span.start, span.length)
        self._sealer.seal(header, record[:HEADER_RECORD_BYTES])
        filled = HEADER_RECORD_BYTES
        with self._arena.view(span.offset, span.length) as plain:
            for at in range(0, span.length, sealing.PIECE_BYTES):
                with plain[at : at + sealing.PIECE_BYTES] as piece:
                    end = filled + piece.nbytes + sealing.TAG_BYTES
                    self._sealer.seal(piece, record[filled:end])
                self._sock.sendall(record[:end])
                filled = 0
