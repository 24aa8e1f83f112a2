"""What lets a conversation outlive its connection: each end counts and keeps what it has sent.

Used by both ends of the line between a raylet and the head (`raylet.head_line`, `head.peers`).
Frames have no numbers on the wire: within a connection they keep their order, so both ends count.
Over a new connection each end says how many it has, and the other sends what is missing: nothing is
lost and nothing comes twice.  A state machine: never touches a socket.

Messages that are repeated anyway (heartbeats, views, greetings) are *passing*: neither counted nor
kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from rayhpc.wire.codec import kind_of
from rayhpc.wire.messages import cluster

PASSING = (
    cluster.RegisterNode,
    cluster.Registered,
    cluster.RegistrationRefused,
    cluster.RejoinNode,
    cluster.Rejoined,
    cluster.Heartbeat,
    cluster.HeadAlive,
    cluster.NodeUp,
    cluster.View,
)
_KINDS = frozenset(each.__struct_config__.tag for each in PASSING)

Kept = TypeVar("Kept")


def is_passing(frame: bytes) -> bool:
    """Whether a frame's message is neither counted nor kept."""
    return kind_of(frame) in _KINDS


class Numbered(Generic[Kept]):
    """One end of a conversation.

    Args:
        sent: how many it has sent so far.
        received: how many it has received so far.

    Attributes:
        sent, received: the same, from now on.
    """

    def __init__(self, sent: int = 0, received: int = 0) -> None:
        self.sent = sent
        self.received = received
        self._kept: deque[Kept] = deque()

    def keep(self, frame: Kept) -> None:
        """A frame is about to be sent; it is kept until the other end says that it has it."""
        self.sent += 1
        self._kept.append(frame)

    def restore(self, frames: Iterable[Kept]) -> None:
        """These are the last ones of those sent so far, from before this process's life."""
        self._kept.extend(frames)

    def confirm(self, received: int) -> None:
        """The other end has this many, and will not ask for them again."""
        while self._kept and self.sent - len(self._kept) < received:
            self._kept.popleft()

    def missing(self, received: int) -> list[Kept]:
        """What the other end, which has this many, has not received, in order."""
        self.confirm(received)
        return list(self._kept)
