"""The listening side of TCP: a ROUTER under CURVE; which clients are admitted, which are lost.

Used by `links.py` (raylets) and `head_link.py` (the head).  Never connects, and never waits: its
owner polls `sockets` and then calls `receive_from`, which also admits clients.  A port scanner, a
client with a wrong key or one that sends garbage costs a line in the log and nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterator, Set
from typing import Any

from rayhpc.wire import sockets
from rayhpc.wire.keys import KeyPair
from rayhpc.wire.monitor import ACCEPTED, DOWN, Monitor
from rayhpc.wire.sockets import Context, PortRange, Socket
from rayhpc.wire.zap import Zap

logger = logging.getLogger("rayhpc")

# libzmq's name for the descriptor on which a message arrived
_DESCRIPTOR = "__fd"


class Listener:
    """One listener, on one or several addresses; one per ZeroMQ context.

    Args:
        context: a context without another listener.
        server: the listener's key pair.
        admitted: the client keys that are let in.
        domain: names the listener to ZAP.

    Attributes:
        sock: the ROUTER; send through it with `sockets.send_to`.
        sockets: poll them for reading, then call `receive`.
        admit, dismiss: let a client key in from now on, or no more.
    """

    def __init__(
        self, context: Context, server: KeyPair, admitted: Collection[bytes], domain: bytes
    ) -> None:
        self._zap = Zap(context, admitted)
        self.admit, self.dismiss = self._zap.admit, self._zap.dismiss
        self.sock: Socket = sockets.make_tcp_server(context, server, domain)
        self._monitor = Monitor(self.sock, ACCEPTED | DOWN)
        self._by_descriptor: dict[int, bytes] = {}
        self._open: set[int] = set()
        self._known: set[bytes] = set()
        self._parted: list[bytes] = []  # their messages may still be unread
        self._lost: deque[bytes] = deque()
        self.sockets = (self.sock, self._monitor.socket, self._zap.socket)
        self._others = frozenset(self.sockets[1:])

    def listen(self, ips: list[str], port: int, ports: PortRange) -> list[tuple[str, int]]:
        """Listen on every address of `ips`, on one port if it is free on all.

        Args:
            ips: this computer's addresses, best first.
            port: 0 for a free one.
            ports: the range for a free port, both ends included (None: the system's choice).

        Returns:
            The addresses that peers may connect to, in the same order.

        Raises:
            OSError: the first address is unusable, or the port is taken there (other addresses
                that are unusable are left out).
        """
        found: list[tuple[str, int]] = []
        for ip in ips:
            try:
                if not found:
                    found.append((ip, sockets.bind_tcp(self.sock, ip, port, ports)))
                else:
                    found.append((ip, self._bind_same(ip, found[0][1], ports)))
            except OSError as error:
                if not found:
                    raise
                logger.info("not listening on %s: %s", ip, error)
        return found

    def _bind_same(self, ip: str, port: int, ports: PortRange) -> int:
        try:
            return sockets.bind_tcp(self.sock, ip, port, ports)
        except OSError:
            return sockets.bind_tcp(self.sock, ip, 0, ports)

    def receive(self) -> Iterator[tuple[bytes, bytes]]:
        """All that has arrived: (the peer's routing id, frame).  Also admits clients."""
        self._zap.serve()
        while True:
            self._look()
            parted = len(self._parted)
            yield from self._read()
            self._known.difference_update(self._parted[:parted])
            self._lost.extend(self._parted[:parted])
            del self._parted[:parted]
            if not self._parted:
                return

    def receive_from(self, ready: Set[Any]) -> Iterator[tuple[bytes, bytes]]:
        """As `receive`, but asks only those of `sockets` that a poll has found readable."""
        if self._parted or not self._others.isdisjoint(ready):
            yield from self.receive()
        elif self.sock in ready:
            yield from self._read()
            if self._parted:
                yield from self.receive()

    def lost(self) -> Iterator[bytes]:
        """The peers that have sent something and whose connections have broken, once each.

        Detected by `receive` and `receive_from`, which have returned everything they sent.
        """
        while self._lost:
            yield self._lost.popleft()

    def send_frame(self, name: bytes, frame: bytes) -> bool:
        """Send a frame to a peer that has sent something; False: it is gone.

        Raises:
            ValueError: the frame is larger than any receiver accepts.
        """
        sockets.check_frame(frame)
        return sockets.send_to(self.sock, name, frame)

    def close(self) -> None:
        """Stop listening; what was sent may still go out for up to half a second."""
        self._monitor.close()
        self.sock.close()
        self._zap.close()

    def _read(self) -> Iterator[tuple[bytes, bytes]]:
        sock, known = self.sock, self._known
        while sockets.has_input(sock):
            name = sock.recv()
            if name in known:
                frame = sock.recv()
            else:
                first = sock.recv(copy=False)
                self._meet(name, int(str(first.get(_DESCRIPTOR))))
                frame = first.bytes
            sockets.skip_rest(sock)
            yield name, frame

    def _meet(self, name: bytes, descriptor: int) -> None:
        # First process the events before this message: the descriptor may have been another peer's.
        self._look()
        self._part(descriptor)
        self._known.add(name)
        self._by_descriptor[descriptor] = name
        if descriptor not in self._open:
            self._part(descriptor)  # it had gone before we read this

    def _look(self) -> None:
        for event in self._monitor.events():
            if event.kind == ACCEPTED:
                self._open.add(event.value)
            else:
                self._open.discard(event.value)
                self._part(event.value)

    def _part(self, descriptor: int) -> None:
        name = self._by_descriptor.pop(descriptor, None)
        if name is not None:
            self._parted.append(name)
