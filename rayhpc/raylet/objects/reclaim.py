"""Room when the arena is full: evict copies first, then spill, largest first; and restoring.

Used by `memory` (through `make_room`), `table` (objects that become idle or busy) and `fetching`
(restoring).  Never touches a pinned object.

Evictable at once, least recently used first: copies that others have too, and objects that are also
on disk.  Of these, objects that have been read go before those fetched for a future reader.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from rayhpc.raylet.objects import spill
from rayhpc.raylet.objects.context import StoreContext
from rayhpc.raylet.objects.local import LocalObject
from rayhpc.raylet.objects.memory import Memory, RoomRequest
from rayhpc.raylet.objects.spill import Spiller, SpillPlace
from rayhpc.store.arena import Arena
from rayhpc.store.bins import SizeBins

logger = logging.getLogger("rayhpc")

# Why an object was not restored.
FULL, DAMAGED = "full", "damaged"
# Disk writes in progress at a time; one thread stays free for other work.
_JOBS = 2


class Reclaimer:
    """Evicts, spills and restores.

    `lose`, set by the manager, removes a copy that is evicted or damaged from the table;
    `restored` is called for each object that was restored, or could not be.
    """

    def __init__(
        self, context: StoreContext, arena: Arena, memory: Memory, spiller: Spiller
    ) -> None:
        self.lose: Callable[[LocalObject, str], None] = lambda obj, why: None
        self.restored: Callable[[LocalObject, str], None] = lambda obj, problem: None
        self._context = context
        self._arena = arena
        self._memory = memory
        self._spiller = spiller
        self._seen: dict[LocalObject, None] = {}
        self._fresh: dict[LocalObject, None] = {}
        self._unsaved: SizeBins[LocalObject] = SizeBins()
        self._jobs = 0
        self._job_bytes = 0

    # -- candidates --------------------------------------------------------------------------------
    def idle(self, obj: LocalObject) -> None:
        """Nobody reads the object, which is in memory: it may be evicted or spilled."""
        if obj.primary and obj.disk is None:
            self._unsaved.add(obj, obj.size)
        else:
            (self._seen if obj.read else self._fresh)[obj] = None

    def busy(self, obj: LocalObject) -> None:
        """The object must stay where it is."""
        self._unsaved.discard(obj, obj.size)
        self._seen.pop(obj, None)
        self._fresh.pop(obj, None)

    def discard(self, obj: LocalObject) -> None:
        """The object has left the table: release what it occupies."""
        self.busy(obj)
        obj.gone = True
        if obj.disk is not None and obj.job != "restore":
            self._spiller.release(obj.disk)
            obj.disk = None
        if obj.offset >= 0:
            offset, obj.offset = obj.offset, -1
            self._memory.free(offset)

    def is_spilling(self) -> bool:
        """Whether room is being made."""
        return self._jobs > 0

    # -- making room -------------------------------------------------------------------------------
    def make_room(self, size: int) -> bool:
        """Free one object's memory (True), or start spilling some (False)."""
        if self.evict_seen():
            return True
        if self._fresh:
            self._evict(next(iter(self._fresh)))
            return True
        while self._jobs < _JOBS:
            enough = self._memory.unused + self._job_bytes >= size
            # Enough room in total, but not in one piece: the gaps are too small.
            if (enough and self._jobs) or not self._spill_largest():
                break
        return False

    def evict_seen(self) -> bool:
        """Free the memory of one copy that has been read; False if there is none."""
        if not self._seen:
            return False
        self._evict(next(iter(self._seen)))
        return True

    def _evict(self, obj: LocalObject) -> None:
        self.busy(obj)
        if obj.disk is None:
            self.lose(obj, "")
            return
        offset, obj.offset = obj.offset, -1
        self._memory.free(offset)

    # -- to disk and back --------------------------------------------------------------------------
    def _spill_largest(self) -> bool:
        obj = self._unsaved.largest()
        place = None if obj is None else self._spiller.place(obj.size)
        if obj is None or place is None:
            return False
        self.busy(obj)
        obj.job = "spill"
        self._jobs += 1
        self._job_bytes += obj.size
        view = self._arena.view(obj.offset, obj.size)
        self._context.executor.submit(
            lambda: spill.write(place, view), lambda problem: self._spilled(obj, place, problem)
        )
        return True

    def _spilled(self, obj: LocalObject, place: SpillPlace, problem: str) -> None:
        obj.job = ""
        self._jobs -= 1
        self._job_bytes -= obj.size
        if problem:
            self._spiller.failed(place, problem)
        elif obj.gone:
            self._spiller.release(place)
        else:
            obj.disk = place
        if not obj.gone and not obj.pins:
            self.idle(obj)
            if obj.disk is not None:
                self._evict(obj)
        self._memory.retry()

    def restore(self, obj: LocalObject) -> RoomRequest | None:
        """Restore an object from disk; `restored` is called.

        Returns:
            The request for room, to be withdrawn when the object is no longer wanted.
        """
        if obj.job:
            return None  # already in progress
        request = RoomRequest(
            obj.size,
            self._context.me,
            granted=lambda offset: self._read_back(obj, offset),
            refused=lambda: self.restored(obj, FULL),
            reader=True,
            stalled=lambda: self.check(obj),
        )
        self._memory.ask(request)
        return request

    def check(self, obj: LocalObject) -> bool:
        """Check that an object on disk may be mapped there; `restored` is called.

        Returns:
            False: it is already being handled, or it is not on disk.
        """
        place = obj.disk
        if obj.job or place is None:
            return False
        if place.checked:
            self.restored(obj, "")
            return True
        obj.job = "restore"
        self._context.executor.submit(
            lambda: spill.is_whole(place), lambda ok: self._checked(obj, place, ok)
        )
        return True

    def _checked(self, obj: LocalObject, place: SpillPlace, ok: bool) -> None:
        obj.job = ""
        if obj.gone:
            self._spiller.release(place)
            obj.disk = None
        elif ok:
            place.checked = True
            self.restored(obj, "")
        else:
            self._damaged(obj, place)

    def _damaged(self, obj: LocalObject, place: SpillPlace) -> None:
        logger.error("object %s: %s", obj.oid.hex(), place.corrupt())
        self.lose(obj, place.corrupt())
        self.restored(obj, DAMAGED)

    def _read_back(self, obj: LocalObject, offset: int) -> None:
        place = obj.disk
        if obj.gone or obj.job or obj.offset >= 0 or place is None:
            self._memory.free(offset)
            return
        obj.job = "restore"
        view = self._arena.view(offset, obj.size)
        self._context.executor.submit(
            lambda: spill.read(place, view), lambda ok: self._read(obj, offset, ok)
        )

    def _read(self, obj: LocalObject, offset: int, ok: bool) -> None:
        obj.job = ""
        if obj.gone:
            self._memory.free(offset)
            if obj.disk is not None:
                self._spiller.release(obj.disk)
                obj.disk = None
        elif ok:
            obj.offset = offset
            if not obj.pins:  # it may have been mapped on disk in the meantime
                self.idle(obj)
            self.restored(obj, "")
        else:
            self._memory.free(offset)
            assert obj.disk is not None
            self._damaged(obj, obj.disk)
