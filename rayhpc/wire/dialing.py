"""The connecting side of TCP: tries a listener's addresses in turn until one answers inside CURVE
with that listener's key.

Used by `links.py` and `head_link.py`, which poll the socket's monitor and pass the events in.
Never waits and has no clock: libzmq ends an attempt that takes too long, and its monitor says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rayhpc.wire import sockets
from rayhpc.wire.monitor import CLOSED, DOWN, NO_HANDSHAKE, OPENED, REFUSED, UP, Event
from rayhpc.wire.sockets import Socket

KINDS = OPENED | UP | DOWN | CLOSED | REFUSED | NO_HANDSHAKE
# Milliseconds per attempt.  A busy listener may need longer than the first round allows; a later
# round reaches it.
ROUNDS = (sockets.FIRST_TRY, 2 * sockets.FIRST_TRY, 4 * sockets.FIRST_TRY)

_WHY = {
    CLOSED: "nothing listens there, or it is unreachable",
    # Where the listener closes the connection, NO_HANDSHAKE comes before.
    DOWN: "what answers is not a listener of this cluster",
    REFUSED: "it rejected this cluster's key",
    NO_HANDSHAKE: "it did not answer with the right key in time",
}

DIALING, CONNECTED, FAILED = range(3)


def advance(events: Iterable[Event], in_use: Mapping[str, Dial]) -> Iterator[Dial]:
    """Pass a socket's events to its dials; those that have just connected, or failed."""
    for event in events:
        dial = in_use.get(event.endpoint)
        if dial is not None and dial.on_event(event):
            yield dial


class Dial:
    """The attempts to reach one listener.

    Args:
        sock: created by `sockets.make_tcp_client`.
        addresses: the listener's, best first.
        server_key: its public key.
        new_name: returns a name never used on `sock` before, for each attempt.
        in_use: the endpoints this socket is trying or connected to; shared with other dials.
        rounds: how long an attempt may take, for each round over all addresses (milliseconds).

    Attributes:
        state: DIALING, CONNECTED or FAILED.
        endpoint: that of the current attempt or connection.
        name: the peer's name in the current attempt or connection.
        reasons: why attempts failed: address → words.
    """

    def __init__(
        self,
        sock: Socket,
        addresses: Sequence[tuple[str, int]],
        server_key: bytes,
        new_name: Callable[[], bytes],
        in_use: dict[str, Dial],
        rounds: Sequence[int] = ROUNDS,
    ) -> None:
        self._sock = sock
        self._server_key = server_key
        self._new_name = new_name
        self._in_use = in_use
        self._tries = iter([(ip, port, time) for time in rounds for ip, port in addresses])
        self._why = ""
        # That of the current attempt's connection, once TCP has made it.
        self._descriptor = -1
        self.state = DIALING
        self.endpoint = ""
        self.name = b""
        self.reasons: dict[str, str] = {}
        self._next()

    def on_event(self, event: Event) -> bool:
        """Handle an event of the socket's monitor that concerns our endpoint.

        An earlier connection of this socket to the same address may end late: what is said of its
        descriptor does not concern this one.

        Returns:
            whether the listener has been reached, or will not be.
        """
        if event.kind == OPENED:
            self._descriptor = event.value
        elif event.kind == UP:
            self.state = CONNECTED
            return True
        elif event.kind in (REFUSED, NO_HANDSHAKE):
            self._why = _WHY[event.kind]
        elif self._is_ours(event):
            self._on_end(event)
            return self.state == FAILED
        return False

    def _is_ours(self, event: Event) -> bool:
        """Whether it is our attempt or connection that has ended."""
        if event.kind == DOWN:
            return event.value == self._descriptor
        return self._descriptor < 0  # CLOSED: TCP has not made one

    def _on_end(self, event: Event) -> None:
        if self.state == CONNECTED:
            self.state = FAILED
            self.reasons[self.endpoint] = "the connection broke"
            return
        self.reasons[self.endpoint] = self._why or _WHY[event.kind]
        self.close()
        self._next()

    def close(self) -> None:
        """End the attempt or connection; what has arrived but is unread is lost."""
        if self.endpoint:
            sockets.disconnect_tcp(self._sock, self.endpoint)
            del self._in_use[self.endpoint]
            self.endpoint = ""

    def _next(self) -> None:
        self._why = ""
        self._descriptor = -1
        for ip, port, time in self._tries:
            # An address that several computers share (container bridges) may be another listener's.
            if sockets.tcp_endpoint(ip, port) in self._in_use:
                continue
            self.name = self._new_name()
            self.endpoint = sockets.connect_tcp(
                self._sock, ip, port, self._server_key, self.name, time
            )
            self._in_use[self.endpoint] = self
            return
        self.state = FAILED

    def is_refused(self) -> bool:
        """Whether a listener rejected this cluster's key."""
        return _WHY[REFUSED] in self.reasons.values()

    def is_unreachable(self) -> bool:
        """Whether no address led to a process at all, not even to one that is busy."""
        return self.state == FAILED and set(self.reasons.values()) <= {_WHY[CLOSED]}

    def describe(self) -> str:
        """Why the listener was not reached, address by address."""
        if not self.reasons:
            return "it has no address of its own"
        return "; ".join(f"{x.removeprefix('tcp://')}: {why}" for x, why in self.reasons.items())
