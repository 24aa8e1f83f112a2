"""What a node knows of one object that lies on it.

Shared by `table`, `reclaim`, `fetching` and `pulls`.  Holds state only.
"""

from __future__ import annotations

from rayhpc.raylet.objects.spill import SpillPlace
from rayhpc.wire.address import ObjectId


class Writing:
    """A place that a process has and has not sealed; `doomed`: already freed, or superseded.

    It is in the arena at `offset`, or (`disk`) in a spill file.  `attempt`: that of the task run.
    """

    __slots__ = ("attempt", "disk", "doomed", "offset", "size")

    def __init__(
        self, offset: int, size: int, disk: SpillPlace | None = None, attempt: int = 0
    ) -> None:
        self.offset = offset
        self.size = size
        self.disk = disk
        self.attempt = attempt
        self.doomed = False


class LocalObject:
    """A sealed object.

    `offset` is -1 while it lies on disk only, where it may be mapped.  `primary` copies are kept
    (or spilled), others may be evicted.  Copies of one `edition` are equal.  `read` says that
    somebody has had it, `gone` that it has left the table.  `job` is "spill" or "restore" while a
    background thread works on it.  `attempt` is the one of its task that wrote it; `older` a
    copy of an earlier attempt that is still read: its pins count as this one's, and it goes with
    the last.
    """

    __slots__ = (
        "attempt",
        "disk",
        "doomed",
        "edition",
        "gone",
        "job",
        "offset",
        "oid",
        "older",
        "pins",
        "primary",
        "read",
        "size",
    )

    def __init__(
        self,
        oid: ObjectId,
        offset: int,
        size: int,
        primary: bool,
        disk: SpillPlace | None = None,
        edition: int = 0,
        attempt: int = 0,
    ) -> None:
        self.oid = oid
        self.offset = offset
        self.size = size
        self.primary = primary
        self.edition = edition
        self.attempt = attempt
        self.older: LocalObject | None = None
        self.pins = 0
        self.read = False
        self.doomed = False
        self.gone = False
        self.job = ""
        self.disk = disk
