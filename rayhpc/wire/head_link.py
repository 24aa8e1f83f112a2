"""Between a raylet and the head: the raylet's end (`HeadLink`) and the head's (`HeadServer`).

Used by `raylet`, `head` and `launch` (to check whether a head is there).  Never waits: the owner
polls `sockets` and calls `receive`.  Never decodes a frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import zmq

from rayhpc.wire import sockets
from rayhpc.wire.dialing import CONNECTED, FAILED, KINDS, ROUNDS, Dial
from rayhpc.wire.keys import ClusterKey, KeyPair
from rayhpc.wire.listener import Listener
from rayhpc.wire.monitor import Monitor
from rayhpc.wire.sockets import Context


class HeadLink:
    """A raylet's connection to the head; frames sent before it is up wait, in order.

    Args:
        context: the process's ZeroMQ context.
        key: the cluster's key; the head's addresses are tried in turn, inside CURVE.
        rounds: milliseconds per attempt, for each round over all addresses.
        silence_ms: the connection is broken if nothing has come for about so long; the head's
            process need not be able to answer (None: as with any other connection).

    Attributes:
        sockets: poll them for reading, then call `receive`, then `is_lost`.
    """

    def __init__(
        self,
        context: Context,
        key: ClusterKey,
        rounds: Sequence[int] = ROUNDS,
        silence_ms: int | None = None,
    ) -> None:
        self._sock = sockets.make_tcp_client(context, zmq.DEALER, key.node, routing_id=b"raylet")
        if silence_ms is not None:
            sockets.notice_silence(self._sock, silence_ms)
        self._monitor = Monitor(self._sock, KINDS)
        self._in_use: dict[str, Dial] = {}
        self._waiting: list[bytes] = []
        self._why = ""
        self._key = key
        self._dial = self._start(rounds)
        self.sockets = (self._sock, self._monitor.socket)

    def _start(self, rounds: Sequence[int]) -> Dial:
        key = self._key
        return Dial(
            self._sock, key.head_endpoints, key.head_public, _new_name, self._in_use, rounds
        )

    def redial(self) -> None:
        """Try each of the head's addresses once more; until it is up, frames wait as at first."""
        self._why = ""
        self._dial = self._start(ROUNDS[:1])

    def send_frame(self, frame: bytes) -> None:
        """Send a frame to the head; only an answer proves that it arrived.

        Raises:
            ValueError: the frame is larger than any receiver accepts.
        """
        sockets.check_frame(frame)
        if self.is_lost():
            return
        if self.is_up():
            self._sock.send(frame, zmq.NOBLOCK)
            return
        self._waiting.append(frame)

    def receive(self) -> Iterator[bytes]:
        """All frames that have arrived, without waiting; also advances dialling."""
        yield from self._take()
        for event in self._monitor.events():
            if self._in_use.get(event.endpoint) is self._dial:
                self._dial.on_event(event)
                if self.is_up():
                    self._send_waiting()
        if self._dial.state == FAILED and not self._why:
            # What arrived before the end is read first: closing the connection would drop it.
            yield from self._take()
            self._end(self._dial.describe())

    def is_up(self) -> bool:
        """Whether the head has answered inside CURVE, and the connection is up."""
        return self._dial.state == CONNECTED and not self._why

    def is_lost(self) -> bool:
        """Whether the head cannot be reached, or its connection has broken; see `redial`."""
        return bool(self._why)

    def why(self) -> str:
        """Why the head is lost, in words; empty if it is not."""
        return self._why

    def is_refused(self) -> bool:
        """Whether the head rejected this cluster's key."""
        return self._dial.is_refused()

    def close(self) -> None:
        """Close the connection; what was sent may still go out for up to half a second."""
        self._monitor.close()
        self._sock.close()

    def _take(self) -> Iterator[bytes]:
        while sockets.has_input(self._sock):
            yield self._sock.recv()

    def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self._sock.send(frame, zmq.NOBLOCK)

    def _end(self, why: str) -> None:
        self._why = why
        self._waiting = []
        self._dial.close()


class HeadServer(Listener):
    """The head's listener; a peer is identified by the routing id of its frames.

    Args:
        context: the head's ZeroMQ context.
        server: the head's key pair.
        node_public: the client key of the cluster's nodes.
    """

    def __init__(self, context: Context, server: KeyPair, node_public: bytes) -> None:
        super().__init__(context, server, {node_public}, b"head")


def _new_name() -> bytes:
    # Random: a peer that lost its connection must not be confused with a later one.
    return b"n" + os.urandom(16)
