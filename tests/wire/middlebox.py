"""What stands between two ends of a connection and disturbs it.

Used by tests of links and of the head's connections.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from tests.wire.helpers import LOOPBACK


class Middlebox:
    """Passes on what goes between those who dial it and a listener, until a test disturbs it."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to = to
        self._listener = socket.create_server((LOOPBACK, 0))
        self.endpoint = (LOOPBACK, self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._forgotten: set[socket.socket] = set()
        self._is_to_change = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def reset(self) -> None:
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RD)

    def forget(self) -> None:
        """Of the connections that stand nothing passes any more, and nobody is told."""
        self._forgotten.update(self._open)

    def change(self) -> None:
        """One bit of what passes next is another."""
        self._is_to_change.set()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                called = socket.create_connection(self._to)
                self._open += [caller, called]
                for ends in ((caller, called), (called, caller)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source in self._forgotten:
                    continue
                if self._is_to_change.is_set():
                    self._is_to_change.clear()
                    data = data[:-1] + bytes([data[-1] ^ 1])
                sink.sendall(data)
        source.close()
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
