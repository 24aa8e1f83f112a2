"""The sockets of direct links: listeners for those who dial this process, connections of both ends.

Used by `transport`, whose epoll has their descriptors; all are opened when first needed, so a
process that talks to no other node has none.  Carries out what `direct_links` decides, and reports
what happens.  Never waits.

Why not ZeroMQ, as between raylets: its own thread at either end makes three thread switches of one
message, where this makes one (`tests/bench/round_trips.py`).  Keys are made for each connection,
and agreed through the raylets (`key_agreement`); a connection without them is closed unanswered.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import math
import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from rayhpc.wire.address import Address
from rayhpc.wire.direct_links import DirectLinks, Via, peer_named
from rayhpc.wire.sockets import PortRange
from rayhpc.wire.streams import IN, OUT

if TYPE_CHECKING:
    # Loaded when first needed, with the package `cryptography`.
    from rayhpc.wire.key_agreement import Secret
    from rayhpc.wire.sealed_streams import SealedStream

logger = logging.getLogger("rayhpc")

# This many ports at the start of the range are left to the head, the raylets and their data planes.
PORTS_LEFT = 8
# How often an attempt is repeated before an address counts as unreachable: after 7 s.
SYN_COUNT = 2
# So long whoever has accepted our connection may take to answer our hello: seconds.
HELLO_S = 5.0
# Out of descriptors: perhaps not for long.
_FULL = (errno.EMFILE, errno.ENFILE)
# How many may be connected without having proved who they are; then the oldest has to go.
_STRANGERS = 16
# Both ends' names for their connections begin with one of these.
_DIALLED, _ACCEPTED = b">", b"@"


class _Dial:
    """Our attempts to reach a process, one address after the other."""

    __slots__ = ("keys", "left", "peer", "public", "reached", "said", "stream", "via")

    def __init__(
        self, peer: Address, endpoints: list[tuple[str, int]], public: bytes, keys: list[bytes]
    ) -> None:
        self.peer = peer
        self.left = deque(endpoints)
        self.public = public
        self.keys = keys
        self.via: Via = b""
        self.stream: SealedStream | None = None
        self.reached = False  # somebody has answered, though perhaps another
        self.said = math.inf  # when we said hello


class DirectSockets:
    """The sockets of one process's direct links; the `LinkIO` of `DirectLinks`.

    Args:
        ips: the addresses to listen on, best first.
        ports: first and last port to listen on (None: the system's choice).
        ready: gets the frames that have been read and can be handled.
        epoll: where our descriptors are registered; others may be in it, too.

    Attributes:
        links: the state machine that decides; set it before use.
    """

    links: DirectLinks

    def __init__(
        self, ips: list[str], ports: PortRange, ready: deque[bytes], epoll: select.epoll
    ) -> None:
        self._ips = ips
        self._ports = ports
        self._ready = ready
        self._epoll = epoll
        self._numbers = itertools.count(1)
        self._problem: OSError | None = None
        self._listeners: dict[int, socket.socket] = {}
        self._endpoints: list[tuple[str, int]] = []
        self._is_full = False
        # What we have asked, whom we dial, what we offer: a key's public half → whose, both keys.
        self._asked: dict[Address, Secret] = {}
        self._dials: dict[Address, _Dial] = {}
        self._offers: dict[bytes, tuple[Address, list[bytes]]] = {}
        self._by_fd: dict[int, SealedStream] = {}
        self._by_via: dict[Via, SealedStream] = {}
        self._by_peer: dict[Address, SealedStream] = {}
        self._dialling: dict[int, _Dial] = {}
        self._strangers: deque[SealedStream] = deque()

    # -- for the one who is dialled ---------------------------------------------------------------
    def offer(self, peer: Address, key: bytes) -> tuple[list[tuple[str, int]], bytes]:
        """Admit a process once; where to dial, and what it needs for the keys (see `LinkIO`).

        Raises:
            OSError: no port can be had, or nothing can be sealed here.
        """
        secret = self._new_secret()
        if not self._endpoints:
            self._listen()
        try:
            keys = secret.agree(key, is_dialler=False)
        except ValueError:
            raise OSError(errno.EINVAL, "it has sent a key that is none") from None
        self._offers[key] = peer, list(keys)
        if self._is_full:
            self._is_full = False
            self._hear()
        return self._endpoints, secret.public

    def _new_secret(self) -> Secret:
        if self._problem is not None:
            raise self._problem
        from rayhpc.wire.data_plane import sealing

        if problem := sealing.problem():
            self._problem = OSError(errno.ENOSYS, problem)
            raise self._problem
        from rayhpc.wire.key_agreement import Secret

        return Secret()

    def _listen(self) -> None:
        from rayhpc.wire import tcp_listening

        ports = self._ports
        try:
            if ports is not None:
                ports = (ports[0] + PORTS_LEFT, ports[1])
                if ports[0] > ports[1]:
                    raise OSError(
                        errno.EADDRINUSE,
                        f"--port-range has {PORTS_LEFT} ports or fewer, which the raylets may need",
                    )
            listeners, self._endpoints = tcp_listening.listen(self._ips, ports)
        except OSError as error:
            if error.errno not in _FULL:
                self._problem = error
            raise
        self._listeners = {sock.fileno(): sock for sock in listeners}
        self._hear()

    def _hear(self) -> None:
        for fd in self._listeners:
            self._epoll.register(fd, IN)

    def _accept(self, listener: socket.socket) -> None:
        from rayhpc.wire.sealed_streams import SealedStream

        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionError):  # it has gone again
            return
        except OSError as error:
            # It may be another listener's turn in the same batch of events.
            if not self._is_full:
                # Else this would be reported all the time.  Raylets relay until the next offer.
                logger.warning("no more direct links just now: %s", error)
                self._is_full = True
                for fd in self._listeners:
                    self._epoll.unregister(fd)
            return
        sock.setblocking(False)
        if len(self._strangers) >= _STRANGERS:
            self._drop(self._strangers[0])
        stream = SealedStream(sock, self._epoll)
        self._by_fd[stream.fd] = stream
        self._strangers.append(stream)

    def _judge(self, stream: SealedStream, said: bytes) -> bool:
        """Let somebody in who has said hello; False: it is nobody that we expect."""
        from rayhpc.wire.data_plane.sealing import Opener, Sealer
        from rayhpc.wire.key_agreement import PUBLIC_BYTES

        public = said[:PUBLIC_BYTES]
        offer = self._offers.get(public)
        if offer is None:
            return False
        peer, (up, down) = offer
        via = self._new_name(_ACCEPTED, peer)
        if not stream.admit(said, Sealer(down), Opener(up), via):
            return False
        del self._offers[public]
        self._strangers.remove(stream)
        self._enter(stream, peer)
        return True

    # -- for the one who dials --------------------------------------------------------------------
    def ask(self, peer: Address) -> bytes:
        """What another process needs to know for the keys, before it is dialled.

        Raises:
            OSError: nothing can be sealed here.
        """
        secret = self._asked[peer] = self._new_secret()
        return secret.public

    def dial(self, peer: Address, endpoints: list[tuple[str, int]], key: bytes) -> None:
        """Connect to a process; `connected` or `broke` of the links follows."""
        secret = self._asked.pop(peer)
        try:
            keys = secret.agree(key, is_dialler=True)
        except ValueError:
            endpoints, keys = [], (b"", b"")
        dial = self._dials[peer] = _Dial(peer, endpoints, secret.public, list(keys))
        self._dial_next(dial)

    def _dial_next(self, dial: _Dial) -> None:
        from rayhpc.wire.sealed_streams import SealedStream

        dial.said = math.inf
        while dial.left:
            ip, port = dial.left.popleft()
            sock = None
            try:
                family = socket.AF_INET6 if ":" in ip else socket.AF_INET
                sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_COUNT)
                with contextlib.suppress(BlockingIOError):
                    sock.connect((ip, port))
                stream = dial.stream = SealedStream(sock, self._epoll)
            except OSError as error:
                logger.debug("no direct link to %s port %d: %s", ip, port, error)
                if sock is not None:
                    sock.close()
                continue
            # Writable when it is connected.
            self._epoll.modify(stream.fd, IN | OUT)
            self._by_fd[stream.fd] = stream
            self._dialling[stream.fd] = dial
            return
        del self._dials[dial.peer]
        where = "" if dial.reached else "no address of it can be reached"
        self.links.broke(dial.peer, dial.via, where)

    def _on_dialled(self, dial: _Dial, stream: SealedStream, events: int) -> None:
        """Something has happened to an attempt."""
        from rayhpc.wire.data_plane.sealing import Opener, Sealer

        if events & OUT:
            error = stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            up, down = dial.keys
            # The same few bytes at each address, under the same key: they say nothing new.
            if error or not stream.hello(dial.public, Sealer(up), Opener(down)):
                self._fail(dial, stream)
                return
            dial.reached = True
            dial.said = time.monotonic()
            self._epoll.modify(stream.fd, IN)
            return
        said, goes_on = stream.receive()
        if said:
            dial.via = self._new_name(_DIALLED, dial.peer)
            if stream.accept(said[0], dial.via):
                del self._dialling[stream.fd], self._dials[dial.peer]
                self._enter(stream, dial.peer)
                self.links.connected(dial.peer, dial.via)
                return
            goes_on = False
        if not goes_on:
            self._fail(dial, stream)

    def hasten(self, peer: Address) -> None:
        """Give up an address of a process being dialled that has been silent for long."""
        dial = self._dials.get(peer)
        if dial is None or dial.stream is None or time.monotonic() - dial.said < HELLO_S:
            return
        self._fail(dial, dial.stream)

    def _fail(self, dial: _Dial, stream: SealedStream) -> None:
        del self._dialling[stream.fd]
        self._drop(stream)
        self._dial_next(dial)

    # -- both -------------------------------------------------------------------------------------
    def _new_name(self, kind: bytes, peer: Address) -> Via:
        return kind + peer.to_bytes(8, "big") + next(self._numbers).to_bytes(4, "big")

    def _enter(self, stream: SealedStream, peer: Address) -> None:
        self._by_via[stream.via] = stream
        self._by_peer[peer] = stream

    def send(self, via: Via, frame: bytes) -> bool:
        """Send a frame over a connection; False: it has ended."""
        stream = self._by_via.get(via)
        return stream is not None and stream.send(frame)

    def descriptors(self) -> int:
        """How many of ours are in the epoll."""
        return len(self._by_fd) + len(self._listeners)

    def serve(self, fd: int, events: int) -> bool:
        """Do what one of our descriptors is ready for; False: it is another's."""
        stream = self._by_fd.get(fd)
        if stream is None:
            listener = self._listeners.get(fd)
            if listener is None:
                return False
            self._accept(listener)
            return True
        dial = self._dialling.get(fd)
        if dial is not None:
            self._on_dialled(dial, stream, events)
            return True
        goes_on = not events & OUT or stream.write_rest()
        if events & ~OUT:
            goes_on = self._read_from(stream) and goes_on
        if not goes_on:
            self._end(stream)
        return True

    def _read_from(self, stream: SealedStream) -> bool:
        frames, goes_on = stream.receive()
        via, take, ready = stream.via, self.links.take, self._ready
        if not via:
            return self._judge(stream, frames[0]) if len(frames) == 1 else goes_on and not frames
        try:
            for frame in frames:
                taken = take(via, frame)
                if taken is not None:
                    ready.append(taken)
        except msgspec.DecodeError as error:
            logger.warning("rejected a malformed message of a direct link: %s", error)
            return False
        return goes_on

    def _end(self, stream: SealedStream) -> None:
        """A connection has ended, and all that came is read."""
        if self._by_fd.get(stream.fd) is not stream:
            return  # the links have closed it meanwhile
        via = stream.via
        self._drop(stream)
        if via:
            self.links.broke(peer_named(via), via)

    def _drop(self, stream: SealedStream) -> None:
        del self._by_fd[stream.fd]
        if not stream.via:
            with contextlib.suppress(ValueError):
                self._strangers.remove(stream)
        elif self._by_via.pop(stream.via, None) is not None:
            peer = peer_named(stream.via)
            if self._by_peer.get(peer) is stream:
                del self._by_peer[peer]
        stream.close()

    def close(self, peer: Address) -> None:
        """End whatever there is with a process: a question, an offer, an attempt, a connection."""
        self._asked.pop(peer, None)
        for key in [key for key, (whose, _) in self._offers.items() if whose == peer]:
            del self._offers[key]
        dial = self._dials.pop(peer, None)
        if dial is not None and dial.stream is not None:
            del self._dialling[dial.stream.fd]
            self._drop(dial.stream)
        stream = self._by_peer.get(peer)
        if stream is not None:
            self._drop(stream)

    def close_all(self, linger_s: float) -> None:
        """Close everything; what was sent may still go out for so many seconds."""
        deadline = time.monotonic() + linger_s
        for listener in self._listeners.values():
            listener.close()
        for stream in self._by_fd.values():
            stream.flush(deadline)
