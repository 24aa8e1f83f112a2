"""One actor as its caller sees it: where it is, and the calls that wait or run.

Created and changed by `calls`; handles read it.  Holds state only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from rayhpc.wire.address import Address, ObjectId

UNKNOWN = "UNKNOWN"
Item = TypeVar("Item")


# Dead actors share one: an empty deque takes 0.7 KiB, and their handles may be kept indefinitely.
NO_CALLS: deque[Any] = deque()


class ActorClient(Generic[Item]):
    """One actor as this process sees it.

    `queue` are the calls not sent yet, in order; `inflight` those sent and not answered, in order.
    `again` are calls that reconstruct lost results: they wait for no earlier call, since that call
    may wait for what they reconstruct.  `overtakes` says that the actor runs calls concurrently or
    out of order: then a call with its arguments ready does not wait for earlier ones either, and
    calls whose arguments are not ready are `delayed`, apart from the queue.
    `killed`: this process has had it killed, and waits for the head to confirm.  `unregistered` are
    messages for the head that must follow the actor's registration (None: that has been sent).
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
        # Once it has lived, calls that may have run, or may not run twice, do not wait for it.
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
        """The number of calls made and not answered."""
        return len(self.queue) + len(self.delayed) + len(self.again) + len(self.inflight)
