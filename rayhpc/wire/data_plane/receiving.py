"""The asking node's end of a channel: a thread that opens records straight into the arena.

Made by `plane` for each offer of another node.  It dials, proves that it has the ticket, has the
source prove the same, and then only reads.  Spans that are asked for must first be announced with
`expect`: bytes that nobody expects, or that are not what the source sealed, end the channel.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from rayhpc.store.arena import Arena
from rayhpc.wire.data_plane import sealing
from rayhpc.wire.data_plane.listening import GREETING_BYTES, PURPOSE, hello
from rayhpc.wire.data_plane.sending import HEADER, HEADER_RECORD_BYTES

# A socket that is shut down ends at once.
JOIN_S = 1.0
_CONNECT_S = 1.0
_GREETING_S = 2.0


class Receiver:
    """One channel.

    Args:
        arena: where the bytes go.
        endpoints: where the source listens, best first.
        ticket: what is shown there.
        up: the key of what we send.
        down: the key of what we receive.
        opened: called in the channel's thread when both sides have authenticated.
        arrived: called there with token and edition of each span that has arrived whole.
        closed: called there at the end, with the reason: the arena is not written any more.

    Attributes:
        moved: counts what has arrived, to see whether there is progress.
    """

    def __init__(
        self,
        arena: Arena,
        endpoints: list[tuple[str, int]],
        ticket: bytes,
        up: bytes,
        down: bytes,
        opened: Callable[[], None],
        arrived: Callable[[int, int], None],
        closed: Callable[[str], None],
    ) -> None:
        self.moved = 0
        self._arena = arena
        self._endpoints = endpoints
        self._ticket = ticket
        self._up = up
        self._down = down
        self._opened = opened
        self._arrived = arrived
        self._closed = closed
        self._closing = False
        self._sock: socket.socket | None = None
        # token → (start in the object, length, offset in the arena)
        self._expected: dict[int, tuple[int, int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="rayhpc-receive", daemon=True)

    def start(self) -> None:
        """Dial, and receive the spans that are asked for."""
        self._thread.start()

    def expect(self, token: int, start: int, length: int, offset: int) -> None:
        """Expect a span of `length` bytes from `start`; call before asking for it."""
        self._expected[token] = (start, length, offset)

    def forget(self, token: int) -> None:
        """Stop expecting a span."""
        self._expected.pop(token, None)

    def close(self) -> None:
        """End the channel soon; `closed` is called then."""
        self._closing = True
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # Reading alone: after a FIN the source may wait for an acknowledgement of what it
                # has in flight, until its time is up.
                sock.shutdown(socket.SHUT_RD)

    def join(self) -> None:
        """Wait for the thread to end, unless it is dialling."""
        self._thread.join(JOIN_S)

    # -- its thread --------------------------------------------------------------------------------
    def _run(self) -> None:
        why = ""
        try:
            opener = self._dial()
            self._opened()
            self._receive(opener)
        except (OSError, sealing.SealError) as error:
            why = getattr(error, "strerror", None) or str(error)
        if self._sock is not None:
            _reset(self._sock)
        self._closed(why)

    def _dial(self) -> sealing.Opener:
        reasons: list[str] = []
        for ip, port in self._endpoints:
            try:
                self._sock = socket.create_connection((ip, port), _CONNECT_S)
                if self._closing:
                    raise OSError("it is not wanted any more")
                return self._shake_hands(self._sock)
            except (OSError, sealing.SealError) as error:
                reasons.append(f"{ip} port {port}: {getattr(error, 'strerror', None) or error}")
                if self._sock is not None:
                    self._sock.close()
        raise OSError("; ".join(reasons) or "it names no address")

    def _shake_hands(self, sock: socket.socket) -> sealing.Opener:
        sock.settimeout(_GREETING_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.sendall(hello(self._ticket, self._up))
        greeting = sock.recv(GREETING_BYTES, socket.MSG_WAITALL)
        if len(greeting) < GREETING_BYTES:
            raise OSError("it did not let us in")
        opener = sealing.Opener(self._down)
        opener.open(greeting, memoryview(bytearray()), PURPOSE + self._ticket)
        # From here on the loop watches whether bytes arrive, and closes the channel if none do.
        sock.settimeout(None)
        return opener

    def _receive(self, opener: sealing.Opener) -> None:
        assert self._sock is not None
        sock = self._sock
        record = memoryview(bytearray(sealing.PIECE_BYTES + sealing.TAG_BYTES))
        header = memoryview(bytearray(HEADER.size))
        while _fill(sock, record[:HEADER_RECORD_BYTES]):
            opener.open(record[:HEADER_RECORD_BYTES], header)
            token, edition, start, length = HEADER.unpack(header)
            expected = self._expected.pop(token, None)
            if expected is None or expected[:2] != (start, length):
                raise OSError("bytes came that nobody had asked for")
            self._take_span(sock, opener, record, length, expected[2])
            self._arrived(token, edition)

    def _take_span(
        self,
        sock: socket.socket,
        opener: sealing.Opener,
        record: memoryview,
        length: int,
        offset: int,
    ) -> None:
        with self._arena.view(offset, length) as place:
            for at in range(0, length, sealing.PIECE_BYTES):
                with place[at : at + sealing.PIECE_BYTES] as piece:
                    filled = record[: piece.nbytes + sealing.TAG_BYTES]
                    if not _fill(sock, filled):
                        raise OSError("the connection ended in the middle of an object")
                    opener.open(filled, piece)
                self.moved += 1
                if self._closing:
                    raise OSError("it is not wanted any more")


def _reset(sock: socket.socket) -> None:
    """Close a connection so that its source, which may be in the middle of a piece, hears it."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _fill(sock: socket.socket, view: memoryview) -> bool:
    """Read until `view` is full; False: the connection has ended.

    Raises:
        OSError: it has ended in the middle.
    """
    done = sock.recv_into(view, view.nbytes, socket.MSG_WAITALL)
    if not done:
        return False
    while done < view.nbytes:
        more = sock.recv_into(view[done:], view.nbytes - done, socket.MSG_WAITALL)
        if not more:
            raise OSError("the connection ended in the middle of a record")
        done += more
    return True
