"""One actor as a process that calls it sees it: where it is, and the calls that wait or run.

Made and changed by `calls`; handles look at it.  Holds state only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from rayhpc.wire.address import Address, ObjectId

UNKNOWN = "UNKNOWN"
Item = TypeVar("Item")


# The dead share one: an empty deque has 0.7 KiB, and their handles may be kept for ever.
NO_CALLS: deque[Any] = deque()


class ActorClient(Generic[Item]):
    """One actor as this process sees it.

    `queue` are calls not sent yet, in order; `inflight` those sent and not answered, in order.
    `again` are calls that make lost results again: they wait for no call before them, since such
    a one may wait for what they make.  `overtakes` says that the actor runs calls beside each
    other, or out of order: then one whose arguments are there waits for none before it either,
    and those whose arguments are not are `delayed`, apart from the queue.
    `killed`: this process has had it killed, and waits for the head to say so.  `unregistered` are
    messages for the head that must follow the actor's registration (None: that has gone out).
    """

    def __init__(self, actor: ObjectId) -> None:
        self.actor = actor
        self.state = UNKNOWN
        self.address: Address = 0
        self.incarnation = -1
        self.reason = ""
        self.error = b""
        self.node_id = ""
        self.unschedulable = False
        # Once it has lived, calls that may have run, or may run twice, do not wait for it.
        self.has_lived = False
        self.queue: deque[Item] = deque()
        self.again: deque[Item] = deque()
        self.overtakes = False
        self.delayed: dict[ObjectId, Item] = {}
        self.inflight: dict[ObjectId, Item] = {}
        self.watched = False
        self.killed = False
        self.unregistered: list[msgspec.Struct] | None = None
        self.watchers: list[Callable[[], None]] = []

    def calls_waiting(self) -> int:
        """How many calls have been made and not answered."""
        return len(self.queue) + len(self.delayed) + len(self.again) + len(self.inflight)
