"""One object on its way to this node: what is known of it, and what is under way.

Used by `pulls`, which decides everything.
"""

from __future__ import annotations

from rayhpc.raylet.objects.memory import RoomRequest
from rayhpc.raylet.objects.progress import Progress
from rayhpc.raylet.objects.spill import SpillPlace
from rayhpc.wire.address import NodeNumber, ObjectId


class Pull:
    """One object on its way here.

    `others`: more nodes have a copy.  `chunks` in flight by their start, `spans` by their token.
    `by_chunks`: its source has said that it cannot send spans.  `came` (bytes, edition): it was
    sent along with its location, and only room is missing.  `real`: so much of its room, from the
    start, can be written; `committing` makes more of it so.  `attempt`: only its copies will do.
    """

    __slots__ = (
        "attempt",
        "by_chunks",
        "came",
        "chunks",
        "committing",
        "heard",
        "offset",
        "oid",
        "others",
        "place",
        "progress",
        "real",
        "request",
        "size",
        "source",
        "spans",
        "urgent",
    )

    def __init__(
        self,
        oid: ObjectId,
        size: int,
        source: NodeNumber,
        urgent: bool,
        others: bool,
        attempt: int = 0,
    ) -> None:
        self.oid = oid
        self.size = size
        self.source = source
        self.urgent = urgent
        self.others = others
        self.attempt = attempt
        self.request: RoomRequest | None = None
        self.offset = -1
        # There was no room in memory: it goes to disk.
        self.place: SpillPlace | None = None
        self.real = 0
        self.committing = False
        self.progress = Progress(size)
        self.chunks: dict[int, int] = {}
        self.spans: dict[int, tuple[int, int]] = {}
        self.by_chunks = False
        self.came: tuple[bytes, int] | None = None
        self.heard = 0.0
