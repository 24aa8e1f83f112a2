"""One connection between two processes of different nodes: TCP, each frame sealed as a record.

Used by `direct_sockets`, from the thread that leads.  Never waits.  Who dials says hello with the
name of the key it has and the proof that it has it; who listens proves the same, and from then on
each frame is a record (`sealing`): one that is changed, left out, repeated or out of order ends the
connection.
"""

from __future__ import annotations

import contextlib
import select
import socket

from rayhpc.wire import sockets
from rayhpc.wire.codec import HEADER_BYTES
from rayhpc.wire.data_plane.sealing import KEY_BYTES_MAX, TAG_BYTES, Opener, Sealer, SealError
from rayhpc.wire.direct_links import Via
from rayhpc.wire.key_agreement import PUBLIC_BYTES
from rayhpc.wire.streams import LENGTH_BYTES, Stream

HELLO_BYTES = PUBLIC_BYTES + TAG_BYTES
_MOST_UNREAD = 64 * 1024
_HELLO = b"rayhpc direct hello 1"
_FRAMES = (HEADER_BYTES + TAG_BYTES, sockets.MAX_FRAME_BYTES + TAG_BYTES)
# An end that has been silent for so long is gone: seconds until the first question, between
# questions, and milliseconds without an acknowledgement.
_KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 2),
    (socket.TCP_KEEPINTVL, 1),
    (socket.TCP_KEEPCNT, 3),
    (getattr(socket, "TCP_USER_TIMEOUT", 18), sockets.SILENCE),
    (socket.TCP_NODELAY, 1),
)


class SealedStream(Stream):
    """One connection.

    Args:
        sock: a TCP socket that does not block.
        epoll: where its descriptor is registered until `close`.

    Attributes:
        via: its name; empty until both ends have proved who they are.
    """

    __slots__ = ("_open", "_seal", "_sealed_bytes", "via")

    def __init__(self, sock: socket.socket, epoll: select.epoll) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        super().__init__(sock, epoll, (TAG_BYTES, HELLO_BYTES))
        self.via: Via = b""
        self._seal: Sealer | None = None
        self._open: Opener | None = None
        self._sealed_bytes = 0

    def hello(self, public: bytes, seal: Sealer, open_: Opener) -> bool:
        """Say who we are, as the end that dialled; False: the other has gone."""
        self._seal, self._open = seal, open_
        said = public + seal.sealed(b"", _HELLO + public)
        return self.write(len(said).to_bytes(LENGTH_BYTES, "big") + said)

    def admit(self, said: bytes, seal: Sealer, open_: Opener, via: Via) -> bool:
        """Check a hello, and answer it; False: the proof is wrong."""
        public, proof = said[:PUBLIC_BYTES], said[PUBLIC_BYTES:]
        try:
            open_.opened(proof, _HELLO + public)
        except SealError:
            return False
        self._seal, self._open = seal, open_
        return self._prove(seal, via)

    def _prove(self, seal: Sealer, via: Via) -> bool:
        self._is_proved(via)
        said = seal.sealed(b"", _HELLO)
        return self.write(len(said).to_bytes(LENGTH_BYTES, "big") + said)

    def accept(self, said: bytes, via: Via) -> bool:
        """Check the answer to our hello; False: the proof is wrong."""
        assert self._open is not None
        try:
            self._open.opened(said, _HELLO)
        except SealError:
            return False
        self._is_proved(via)
        return True

    def _is_proved(self, via: Via) -> None:
        self.via = via
        self.sizes = _FRAMES

    def send(self, frame: bytes) -> bool:
        """Send a frame; False: the connection has ended, or its key has been used enough."""
        assert self._seal is not None
        size = len(frame) + TAG_BYTES
        self._sealed_bytes += size
        if self._sealed_bytes > KEY_BYTES_MAX:
            return False
        data = bytearray(LENGTH_BYTES + size)
        data[:LENGTH_BYTES] = size.to_bytes(LENGTH_BYTES, "big")
        self._seal.seal(frame, memoryview(data)[LENGTH_BYTES:])
        return self.write(data)

    def flush(self, deadline: float) -> None:
        """As of any stream; what has come is read: else the kernel drops what is to go out."""
        with contextlib.suppress(OSError):
            while self.sock.recv(_MOST_UNREAD):
                pass
        super().flush(deadline)

    def receive(self) -> tuple[list[bytes], bool]:
        """The frames that have arrived, and whether the connection goes on."""
        if not self.via:
            return self._receive_proof()
        records: list[memoryview] = []
        goes_on = self.read(records, as_views=True)
        assert self._open is not None
        opened = self._open.opened
        frames: list[bytes] = []
        try:
            frames.extend(opened(record) for record in records)
        except SealError:
            goes_on = False
        return frames, goes_on

    def _receive_proof(self) -> tuple[list[bytes], bool]:
        """As `receive`, but no more than a proof takes: a stranger may never stop writing."""
        left = LENGTH_BYTES + HELLO_BYTES - (self.have if self.begun else 0)
        try:
            data = self.sock.recv(left)
        except BlockingIOError:
            return [], True
        except OSError:
            return [], False
        said: list[bytes] = []
        return said, bool(data) and self._split(data, said, as_views=False)
