"""The sockets of direct links: a listener for those who dial this process, a socket that dials.

Used by `transport`, which polls `sockets`; both are opened when first needed, so a process that
talks to no other node has neither.  Carries out what `direct_links` decides, and reports events.
Each process has key pairs of its own, one as listener, one as client.  It admits only the clients
that have told it their keys through the raylets, and dials listeners whose keys came that way.
"""

from __future__ import annotations

import errno
import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
import zmq

from rayhpc.wire import sockets
from rayhpc.wire.address import Address, routing_id
from rayhpc.wire.direct_links import DirectLinks, Via, peer_named
from rayhpc.wire.keys import KeyPair, new_key_pair
from rayhpc.wire.sockets import Context, PortRange, Socket

if TYPE_CHECKING:
    # Loaded when first needed: 2 to 5 ms of the start of every program.
    from rayhpc.wire.dialing import Dial
    from rayhpc.wire.listener import Listener
    from rayhpc.wire.monitor import Monitor

logger = logging.getLogger("rayhpc")

# Milliseconds for each attempt, in each round: the raylets carry everything meanwhile.
ROUNDS = (1_000, 3_000)
# This many ports at the start of the range are left to the head, the raylets and their data planes.
PORTS_LEFT = 8
# The first byte of our names for connections that we have made; a caller's name starts with "@".
_DIALLED = b">"


class DirectSockets:
    """The sockets of one process's direct links; the `LinkIO` of `DirectLinks`.

    Args:
        context: a ZeroMQ context without a listener.
        me: this process's address.
        ips: the addresses to listen on, best first.
        ports: first and last port to listen on (None: the system's choice).
        touched: our sockets are put here when they are used (see `Transport`).

    Attributes:
        links: the state machine that decides; set it before use.
        on_socket: called with each socket that is to be polled from now on.
    """

    links: DirectLinks

    def __init__(
        self,
        context: Context,
        me: Address,
        ips: list[str],
        ports: PortRange,
        touched: set[Socket],
    ) -> None:
        self._context = context
        self._me = routing_id(me)
        self._ips = ips
        self._ports = ports
        self._touched = touched
        self._numbers = itertools.count(1)
        self._problem: OSError | None = None
        self._listener: Listener | None = None
        self._endpoints: list[tuple[str, int]] = []
        self._client: Socket | None = None
        self._monitor: Monitor | None = None
        self._dials: dict[Address, Dial] = {}
        self._in_use: dict[str, Dial] = {}
        self.on_socket: Callable[[Socket], None] = lambda _: None

    @functools.cached_property
    def _server_keys(self) -> KeyPair:
        return new_key_pair()

    @functools.cached_property
    def _client_keys(self) -> KeyPair:
        return new_key_pair()

    # -- for the one who is dialled ---------------------------------------------------------------
    def listen(self) -> tuple[list[tuple[str, int]], bytes]:
        """Where this process listens (opened when first asked for), and its public key.

        Raises:
            OSError: no port can be had.
        """
        if self._problem is not None:
            raise self._problem
        if self._listener is None:
            try:
                self._open_listener()
            except OSError as error:
                self._problem = error
                raise
        return self._endpoints, self._server_keys.public

    def _open_listener(self) -> None:
        from rayhpc.wire.listener import Listener

        ports = self._ports
        if ports is not None:
            ports = (ports[0] + PORTS_LEFT, ports[1])
            if ports[0] > ports[1]:
                raise OSError(
                    errno.EADDRINUSE,
                    f"--port-range has {PORTS_LEFT} ports or fewer, which the raylets may need",
                )
        listener = Listener(self._context, self._server_keys, (), b"process")
        try:
            self._endpoints = listener.listen(self._ips, 0, ports)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        for sock in listener.sockets:
            self.on_socket(sock)

    def admit(self, key: bytes) -> None:
        """Admit the client with this key."""
        assert self._listener is not None
        self._listener.admit(key)

    def dismiss(self, key: bytes) -> None:
        """Stop admitting the client with this key."""
        assert self._listener is not None
        self._listener.dismiss(key)

    # -- for the one who dials --------------------------------------------------------------------
    def client_key(self) -> bytes:
        """The public half of the key with which this process dials."""
        return self._client_keys.public

    def dial(self, peer: Address, endpoints: list[tuple[str, int]], key: bytes) -> None:
        """Connect to a process; `connected` or `broke` of the links follows."""
        from rayhpc.wire.dialing import FAILED, Dial

        if self._client is None:
            self._open_client()
        assert self._client is not None
        self._touched.add(self._client)
        dial = Dial(
            self._client, endpoints, key, lambda: self._new_name(peer), self._in_use, ROUNDS
        )
        self._dials[peer] = dial
        if dial.state == FAILED:
            self.links.broke(peer, dial.name)

    def _open_client(self) -> None:
        from rayhpc.wire.dialing import KINDS
        from rayhpc.wire.monitor import Monitor

        self._client = sockets.make_tcp_client(
            self._context, zmq.ROUTER, self._client_keys, routing_id=self._me
        )
        self._monitor = Monitor(self._client, KINDS)
        self.on_socket(self._client)
        self.on_socket(self._monitor.socket)

    def _new_name(self, peer: Address) -> bytes:
        """Our name for a connection, used once; sets our own name at the other end, too."""
        assert self._client is not None
        number = next(self._numbers).to_bytes(4, "big")
        self._client.setsockopt(zmq.ROUTING_ID, self._me + number)
        return _DIALLED + peer.to_bytes(8, "big") + number

    # -- both -------------------------------------------------------------------------------------
    def send(self, via: Via, frame: bytes) -> bool:
        """Send a frame over a connection; False: it has ended."""
        if via[:1] == _DIALLED:
            sock = self._client
        else:
            assert self._listener is not None
            sock = self._listener.sock
        assert sock is not None
        self._touched.add(sock)
        return sockets.send_to(sock, via, frame)

    def close(self, peer: Address) -> None:
        """End our attempt to reach a process, or our connection to it, if there is one."""
        dial = self._dials.pop(peer, None)
        if dial is not None:
            assert self._client is not None
            self._touched.add(self._client)
            dial.close()

    def receive_from(self, sock: Socket) -> Iterator[bytes]:
        """The frames that can be handled, after one of our sockets has become readable."""
        if sock is self._client:
            yield from self._read_dialled()
        elif self._monitor is not None and sock is self._monitor.socket:
            yield from self._look_at_dials()
        elif self._listener is not None:
            listener = self._listener
            self._touched.add(listener.sock)
            receive = listener.read if sock is listener.sock else listener.receive
            for name, frame in receive():
                yield from self._take(name, frame)
            for name in listener.lost():
                self.links.broke(peer_named(name), name)

    def _read_dialled(self) -> Iterator[bytes]:
        client = self._client
        assert client is not None
        self._touched.add(client)
        while sockets.has_input(client):
            name = client.recv()
            frame = client.recv()
            sockets.skip_rest(client)
            yield from self._take(name, frame)

    def _look_at_dials(self) -> Iterator[bytes]:
        from rayhpc.wire.dialing import FAILED, advance

        assert self._monitor is not None
        ended: list[Dial] = []
        for dial in advance(self._monitor.events(), self._in_use):
            if dial.state == FAILED:
                ended.append(dial)
            else:
                self.links.connected(peer_named(dial.name), dial.name)
        if ended:
            # What came before the end is read first: closing the connection would drop it.
            yield from self._read_dialled()
        for dial in ended:
            why = dial.describe() if dial.is_unreachable() else ""
            self.links.broke(peer_named(dial.name), dial.name, why)

    def _take(self, name: Via, frame: bytes) -> Iterator[bytes]:
        try:
            ready = self.links.take(name, frame)
        except msgspec.DecodeError as error:
            logger.warning("rejected a malformed message of a direct link: %s", error)
            return
        if ready is not None:
            yield ready

    def close_all(self) -> None:
        """Close everything; what was sent may still go out for up to half a second."""
        if self._monitor is not None:
            self._monitor.close()
        if self._client is not None:
            self._client.close(linger=sockets.LINGER)
        if self._listener is not None:
            self._listener.close()
