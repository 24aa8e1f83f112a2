"""The data plane's listener: admits only peers that show a ticket of ours.

Made by `plane` when a node is first asked for a channel.  Its thread reads a hello of fixed size
and never answers a peer without a ticket; what a stranger sends is never parsed.  Tickets are
agreed over the control plane, under CURVE, and each admits one connection, within TICKET_S.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rayhpc.wire import tcp_listening
from rayhpc.wire.address import NodeNumber
from rayhpc.wire.data_plane import sealing
from rayhpc.wire.sockets import PortRange

TICKET_BYTES = 16
HELLO_BYTES = TICKET_BYTES + sealing.TAG_BYTES
GREETING_BYTES = sealing.TAG_BYTES
# The associated data of both ends' first record.
PURPOSE = b"rayhpc data plane 1"
TICKET_S = 10.0
# How long a peer may take for its hello, and how many may be at that stage at a time.
_HELLO_S = 5.0
_STRANGERS = 256
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """What admits one connection: the channel's number, for whom, and the keys of both directions.

    `secret` is sent in the clear and only names the ticket: the proof is that the caller has `up`.
    """

    number: int
    node: NodeNumber
    until: float
    secret: bytes = field(default_factory=lambda: os.urandom(TICKET_BYTES), repr=False)
    up: bytes = field(default_factory=sealing.new_key, repr=False)
    down: bytes = field(default_factory=sealing.new_key, repr=False)


def hello(ticket: bytes, up: bytes) -> bytes:
    """What the caller says first."""
    said = bytearray(HELLO_BYTES)
    said[:TICKET_BYTES] = ticket
    sealing.Sealer(up).seal(b"", memoryview(said)[TICKET_BYTES:], PURPOSE + ticket)
    return bytes(said)


class Listener:
    """Listens, and hands over the connections of the peers it admits.

    Args:
        admitted: called in the listener's thread with a ticket and a blocking socket.
    """

    def __init__(self, admitted: Callable[[Ticket, socket.socket], None]) -> None:
        self._admitted = admitted
        self._lock = threading.Lock()
        self._tickets: dict[bytes, Ticket] = {}
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._strangers: dict[socket.socket, tuple[bytearray, float]] = {}
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="rayhpc-listen", daemon=True)
        self.refused = 0

    def listen(self, ips: list[str], ports: PortRange) -> list[tuple[str, int]]:
        """Listen on every address of `ips`, on one port if it is free on all.

        Returns:
            What peers may connect to, in the same order.

        Raises:
            OSError: the first address cannot be used, or no port of `ports` is free there.
        """
        try:
            self._sockets, found = tcp_listening.listen(ips, ports)
        except OSError:
            self._close_all()
            raise
        for sock in self._sockets:
            self._selector.register(sock, selectors.EVENT_READ)
        self._thread.start()
        return found

    def expect(self, ticket: Ticket) -> None:
        """Admit the peer that shows this ticket (once)."""
        with self._lock:
            now = time.monotonic()
            for secret in [x.secret for x in self._tickets.values() if x.until < now]:
                del self._tickets[secret]
            self._tickets[ticket.secret] = ticket

    def close(self) -> None:
        """Stop listening."""
        self._wake_write.send(b"\0")
        if self._thread.is_alive():
            self._thread.join()
        self._close_all()

    # -- its thread --------------------------------------------------------------------------------
    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(_LOOK_S if self._strangers else None):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._wake_read:
                    return
                if sock in self._strangers:
                    self._hear(sock)
                else:
                    self._accept(sock)
            late = time.monotonic()
            for sock in [x for x, (_, until) in self._strangers.items() if until < late]:
                self._drop(sock)

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, _ = listening.accept()
        except OSError:
            return  # gone again, or no descriptor is left for it
        sock.setblocking(False)
        if len(self._strangers) >= _STRANGERS:
            self._drop(next(iter(self._strangers)))
        self._strangers[sock] = (bytearray(), time.monotonic() + _HELLO_S)
        self._selector.register(sock, selectors.EVENT_READ)

    def _hear(self, sock: socket.socket) -> None:
        said = self._strangers[sock][0]
        try:
            more = sock.recv(HELLO_BYTES - len(said))
        except BlockingIOError:
            return
        except OSError:
            more = b""
        said += more
        if not more:
            self._drop(sock)
        elif len(said) == HELLO_BYTES:
            self._judge(sock, bytes(said))

    def _judge(self, sock: socket.socket, said: bytes) -> None:
        secret, proof = said[:TICKET_BYTES], said[TICKET_BYTES:]
        with self._lock:
            ticket = self._tickets.get(secret)
        if ticket is None or ticket.until < time.monotonic():
            self._drop(sock)
            return
        try:
            sealing.Opener(ticket.up).open(proof, memoryview(bytearray()), PURPOSE + secret)
        except sealing.SealError:
            self._drop(sock)  # the ticket stays good for whom it is for
            return
        with self._lock:
            if self._tickets.pop(secret, None) is None:
                self._drop(sock)
                return
        self._selector.unregister(sock)
        del self._strangers[sock]
        sock.setblocking(True)
        self._admitted(ticket, sock)

    def _drop(self, sock: socket.socket) -> None:
        self.refused += 1
        del self._strangers[sock]
        self._selector.unregister(sock)
        sock.close()

    # -- details -----------------------------------------------------------------------------------
    def _close_all(self) -> None:
        for sock in [*self._sockets, *self._strangers, self._wake_read, self._wake_write]:
            with contextlib.suppress(OSError):
                sock.close()
        self._sockets.clear()
        self._strangers.clear()
        self._selector.close()
