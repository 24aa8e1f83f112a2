"""A raylet's line to the head, which is taken up again when its connection has broken.

Used by `routing` and `main` once the node has joined.  The head's process may be gone, and come
back, or the connection alone has broken.  Until the head answers again, what is for it is kept;
then it gets what it has not handled, in order, and the raylet what it has missed
(`wire.numbered`).  How long to wait for it is decided by `head_contact`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from rayhpc.wire import codec, sockets
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import cluster
from rayhpc.wire.numbered import Numbered, is_passing

# Between two attempts to reach the head.
REDIAL_S = 0.1
# A connection over which nothing has come for so long is broken, perhaps by a firewall that has
# forgotten it: soon enough for another one before the head has missed the node (`NODE_SILENT_S`).
SILENCE_MS = 2_000

_decode = codec.Decoder((cluster.Rejoined, cluster.HeadAlive))
_HEARD, _BACK = (x.__struct_config__.tag for x in (cluster.HeadAlive, cluster.Rejoined))


class Link(Protocol):
    """One connection after another to the head (`wire.head_link.HeadLink`)."""

    @property
    def sockets(self) -> Sequence[Any]:
        """What to poll."""

    def send_frame(self, frame: bytes) -> None:
        """Send a frame, or keep it until the connection is up."""

    def receive(self) -> Iterator[bytes]:
        """What has come."""

    def is_lost(self) -> bool:
        """Whether the connection has broken, or could not be made."""

    def why(self) -> str:
        """Why, in words."""

    def redial(self) -> None:
        """Try once more."""


class HeadLine:
    """The line.

    Args:
        link: connected; the node has just registered over it.
        me: the raylet's address.
        now: the time in seconds, monotonic.
        rejoin: makes the request to be taken back, given how many of the head's messages have come.
        on_lost: called with the reason when the connection has broken, or could not be made.
        early: what came right after the welcome.
    """

    def __init__(
        self,
        link: Link,
        me: Address,
        now: Callable[[], float],
        rejoin: Callable[[int], cluster.RejoinNode],
        on_lost: Callable[[str], None],
        early: Iterable[bytes] = (),
    ) -> None:
        self._link = link
        self._me = me
        self._now = now
        self._rejoin = rejoin
        self._on_lost = on_lost
        self._early = list(early)
        self._numbered: Numbered[bytes] = Numbered()
        self._is_joined = True
        self._redial_at = math.inf

    @property
    def sockets(self) -> Sequence[Any]:
        """Poll them for reading, then call `receive`."""
        return self._link.sockets

    @property
    def received(self) -> int:
        """How many counted messages of the head have come."""
        return self._numbered.received

    def send_frame(self, frame: bytes) -> None:
        """Send a frame to the head, now or when it is back.

        Raises:
            ValueError: it is larger than any receiver accepts.
        """
        sockets.check_frame(frame)
        if not is_passing(frame):
            self._numbered.keep(frame)
        if self._is_joined:
            self._link.send_frame(frame)

    def receive(self) -> Iterator[bytes]:
        """All frames that have come, without waiting."""
        early, self._early = self._early, []
        for frame in early:
            self._count(frame)
            yield frame
        for frame in self._link.receive():
            self._count(frame)
            yield frame
        if self._link.is_lost() and self._redial_at == math.inf:
            self._is_joined = False
            self._redial_at = self._now() + REDIAL_S
            self._on_lost(self._link.why())

    def _count(self, frame: bytes) -> None:
        kind = codec.kind_of(frame)
        if kind == _HEARD:
            self._numbered.confirm(_decode(frame).received)
        elif kind == _BACK:
            self._is_joined = True
            for missing in self._numbered.missing(_decode(frame).received):
                self._link.send_frame(missing)
        elif not is_passing(frame):
            self._numbered.received += 1

    def deadline(self) -> float:
        """When `on_time` must be called; infinity: never."""
        return self._redial_at

    def on_time(self) -> None:
        """Try to reach the head once more, if it is time."""
        if self._now() < self._redial_at:
            return
        self._redial_at = math.inf
        self._link.redial()
        self._link.send_frame(codec.encode(HEAD, self._me, self._rejoin(self.received)))
