"""Keeps large objects pinned for a moment after they were read, so that reading again asks nobody.

Used by `core`, in the leading thread.  A view belongs to the object's entry in the reference table
and goes with it, so no object outlives its last reference; and it is limited (at most MOST views,
each for KEEP_S), so that a full store is not held up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from rayhpc.runtime.owner.entries import Entry
from rayhpc.wire.address import ObjectId

MOST = 4
KEEP_S = 0.5


class RecentViews:
    """The views that are kept.

    Args:
        table: the reference table.
        now: the time in seconds, monotonic.
    """

    def __init__(self, table: dict[ObjectId, Entry], now: Callable[[], float]) -> None:
        self._table = table
        self._now = now
        self._kept: deque[tuple[float, ObjectId]] = deque()

    def keep(self, oid: ObjectId, entry: Entry, view: Any) -> None:
        """Keep an object's view for a while."""
        entry.view = view
        self._kept.append((self._now() + KEEP_S, oid))
        if len(self._kept) > MOST:
            self._drop_oldest()

    def deadline(self) -> float | None:
        """When `on_time` must be called."""
        return self._kept[0][0] if self._kept else None

    def on_time(self) -> None:
        """Drop the views that have been kept long enough."""
        while self._kept and self._kept[0][0] <= self._now():
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, oid = self._kept.popleft()
        entry = self._table.get(oid)
        if entry is not None:
            entry.view = None
