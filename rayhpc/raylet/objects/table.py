"""The objects that lie on this node: being written, sealed, pinned, dropped.

Used by `manager` (messages of this node's processes) and by `fetching`, `pulls`, `directory`.  A
state machine; `memory` decides where the memory comes from, `reclaim` what is evicted first.

Rules: an unsealed object goes with its writer.  A freed object with pins is *doomed*: it takes no
new readers and goes with its last pin; so does a copy whose attempt counts no longer.  A copy of a
later attempt takes the place of an earlier one, which its readers keep; a copy of an earlier
attempt is thrown away.  Of those of one attempt the first stays while it has readers; without any
it goes as soon as somebody has a place to write the object anew (a task that is tried again): its
result may reach a reader before its seal reaches us, and must not show the earlier value.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from rayhpc.raylet.objects import spill
from rayhpc.raylet.objects.context import StoreContext
from rayhpc.raylet.objects.local import LocalObject, Writing
from rayhpc.raylet.objects.memory import Memory, RoomRequest
from rayhpc.raylet.objects.reclaim import Reclaimer
from rayhpc.raylet.objects.spill import Spiller, SpillPlace
from rayhpc.wire.address import Address, ObjectId, owner_node_of
from rayhpc.wire.messages import objects


class ObjectTable:
    """This node's objects.

    Set by the manager: `arrived` is called with each object that becomes readable, `dropped` with
    each id that is dropped, and before which attempt; `full` makes the message for a writer that
    waited in vain.
    """

    def __init__(
        self, context: StoreContext, memory: Memory, reclaimer: Reclaimer, spiller: Spiller
    ) -> None:
        self.arrived: Callable[[LocalObject], None] = lambda obj: None
        self.dropped: Callable[[ObjectId, int], None] = lambda oid, before: None
        self.full: Callable[[int], str] = lambda size: "the object store is full"
        self.objects: dict[ObjectId, LocalObject] = {}
        self.writing: dict[ObjectId, dict[Address, Writing]] = {}
        self.pins: dict[Address, dict[ObjectId, int]] = {}
        self._by_owner: dict[bytes, set[ObjectId]] = {}
        self._context = context
        self._memory = memory
        self._reclaimer = reclaimer
        self._spiller = spiller

    def get(self, oid: ObjectId) -> LocalObject | None:
        """A sealed object, in memory or on disk, that may have new readers."""
        obj = self.objects.get(oid)
        return None if obj is None or obj.doomed else obj

    def is_being_written(self, oid: ObjectId) -> bool:
        """Whether a process here is writing an object that will be read."""
        return any(not writing.doomed for writing in self.writing.get(oid, _NONE).values())

    # -- writing -----------------------------------------------------------------------------------
    def create(self, process: Address, oid: ObjectId, size: int, attempt: int = 0) -> None:
        """A process wants a place to write an object to, in this attempt of its task."""
        writers = self.writing.get(oid)
        if writers is not None and process in writers:
            self._abandon(oid, process)
        if size < 1 or size > self._memory.size:
            if size < 1 or not self._create_on_disk(process, oid, size, attempt):
                self._refuse(process, oid, size)
            return
        offset = self._memory.take(size, process)
        if offset is not None:
            self._place(process, oid, Writing(offset, size, attempt=attempt))
            return
        self._memory.ask(
            RoomRequest(
                size,
                process,
                granted=lambda offset: self._place(
                    process, oid, Writing(offset, size, attempt=attempt)
                ),
                refused=lambda: self._refuse(process, oid, size),
                reader=False,
                stalled=lambda: self._create_on_disk(process, oid, size, attempt),
            )
        )

    def _create_on_disk(self, process: Address, oid: ObjectId, size: int, attempt: int) -> bool:
        """Memory is full: find a place in a spill file, to be mapped; False: the disks are too."""
        place = self._spiller.place(size)
        if place is None:
            return False
        writing = Writing(-1, size, place, attempt)
        self._context.executor.submit(
            lambda: spill.reserve(place),
            lambda ok: self._placed_on_disk(process, oid, writing, place, ok),
        )
        return True

    def _placed_on_disk(
        self, process: Address, oid: ObjectId, writing: Writing, place: SpillPlace, ok: bool
    ) -> None:
        if not ok:
            self._spiller.failed(place, f"it has no room for {place.size} bytes")
            self._refuse(process, oid, place.size)
        elif process in self._context.dead:
            self._spiller.release(place)
        else:
            self._begin_writing(process, oid, writing)
            created = objects.StoreCreated(oid, place.offset, path=place.path)
            self._context.send(process, created)

    def seal(self, process: Address, oid: ObjectId) -> None:
        """An object is written."""
        writers = self.writing.get(oid)
        writing = writers.pop(process, None) if writers else None
        if writing is None:
            return
        if not writers:
            del self.writing[oid]
        if writing.doomed:
            self._give_back(writing)
            return
        if writing.disk is not None:
            writing.disk.checked = True  # by whom it was written
            self._note_sums(writing.disk)
        self.add(
            LocalObject(
                oid,
                writing.offset,
                writing.size,
                primary=True,
                disk=writing.disk,
                edition=self._context.new_edition(),
                attempt=writing.attempt,
            )
        )

    def _note_sums(self, place: SpillPlace) -> None:
        """Compute the checksums of what was written through a mapping, to be checked on reading."""

        def noted(sums: list[int] | None) -> None:
            place.sums = sums or []

        self._context.executor.submit(lambda: spill.sums_of(place), noted)

    def add(self, made: LocalObject) -> None:
        """Add a complete object, in memory or on disk: it is readable from now on."""
        oid, obj = made.oid, self.objects.get(made.oid)
        if obj is not None and _stays(obj, made.attempt):
            self._give_back(Writing(made.offset, made.size, made.disk))
        else:
            if obj is not None:
                self._replace(obj, made)
            obj = self._insert(made)
        if owner_node_of(oid) in self._context.gone_nodes:
            self.drop(oid)
            return
        if obj.doomed and obj is not made and obj.attempt > made.attempt:
            # Nothing is announced; but what is being pulled must be closed.
            self._context.post(owner_node_of(oid), objects.LocateCancel(oid, self._context.node))
            return
        at = objects.ObjectAt(oid, obj.size, self._context.node, obj.attempt)
        self._context.post(owner_node_of(oid), at)
        if obj.offset >= 0 or obj.disk is not None:
            self.arrived(obj)

    # -- reading -----------------------------------------------------------------------------------
    def pin(self, obj: LocalObject, process: Address) -> None:
        """Pin an object: a reader has a view of it from now on."""
        if not obj.pins:
            self._reclaimer.busy(obj)
        obj.pins += 1
        obj.read = True
        mine = self.pins.setdefault(process, {})
        mine[obj.oid] = mine.get(obj.oid, 0) + 1

    def unpin(self, process: Address, oids: Iterable[ObjectId]) -> None:
        """Unpin objects: views of a reader are gone."""
        mine = self.pins.get(process)
        if mine is None:
            return
        for oid in oids:
            count = mine.get(oid, 0)
            if not count:
                continue
            if count == 1:
                del mine[oid]
            else:
                mine[oid] = count - 1
            self._let_go(self.objects[oid], 1)
        if not mine:
            self.pins.pop(process, None)

    # -- going -------------------------------------------------------------------------------------
    def drop(self, oid: ObjectId, before: int = objects.EVERY_ATTEMPT) -> None:
        """Drop what attempts before this one wrote, at the latest with the last pin.

        Nobody refers to the object any more (every attempt), or it is made again.
        """
        for writing in self.writing.get(oid, _NONE).values():
            writing.doomed = writing.doomed or writing.attempt < before
        obj = self.objects.get(oid)
        if obj is not None and obj.attempt < before:
            if obj.pins:
                obj.doomed = True
            else:
                self._remove(obj)
        self.dropped(oid, before)

    def drop_of(self, owner_prefix: bytes) -> None:
        """Drop all objects of owners with this address prefix: the owner or its node has ended."""
        for prefix in [p for p in self._by_owner if p.startswith(owner_prefix)]:
            for oid in sorted(self._by_owner[prefix]):
                self.drop(oid)
        for oid in [oid for oid in self.writing if oid.startswith(owner_prefix)]:
            self.drop(oid)

    def lose(self, obj: LocalObject, why: str = "") -> None:
        """Remove our copy, evicted or found damaged (`why`), and tell the owner's raylet."""
        if self.objects.get(obj.oid) is obj:
            self._remove(obj)
            gone = objects.ObjectGone(obj.oid, self._context.node, why, obj.attempt)
            self._context.post(owner_node_of(obj.oid), gone)

    def kept_for_others(self, limit: int | None = None) -> Iterator[ObjectId]:
        """The primary copies here whose owners are on other nodes, at most `limit` of them."""
        me, gone = self._context.node, self._context.gone_nodes
        kept = (
            oid
            for oid, obj in self.objects.items()
            if obj.primary and not obj.doomed and owner_node_of(oid) not in (me, *gone)
        )
        return itertools.islice(kept, limit)

    def promote(self, oid: ObjectId) -> None:
        """Make ours the copy to keep from now on."""
        obj = self.objects.get(oid)
        if obj is not None and not obj.primary:
            self._reclaimer.busy(obj)
            obj.primary = True
            self._settle(obj)

    def on_process_died(self, process: Address) -> None:
        """Drop a dead process's pins and what it was writing."""
        for oid in [oid for oid, writers in self.writing.items() if process in writers]:
            attempt = self.writing[oid][process].attempt
            self._abandon(oid, process)
            if oid not in self.objects:
                # It may have told the owner that the object exists.
                gone = objects.ObjectGone(oid, self._context.node, attempt=attempt)
                self._context.post(owner_node_of(oid), gone)
        for oid, count in self.pins.pop(process, {}).items():
            self._let_go(self.objects[oid], count)

    # -- details -----------------------------------------------------------------------------------
    def _place(self, process: Address, oid: ObjectId, writing: Writing) -> None:
        self._begin_writing(process, oid, writing)
        self._context.send(process, objects.StoreCreated(oid, writing.offset))

    def _begin_writing(self, process: Address, oid: ObjectId, writing: Writing) -> None:
        self.writing.setdefault(oid, {})[process] = writing
        earlier = self.objects.get(oid)
        if earlier is not None and not _stays(earlier, writing.attempt) and not earlier.pins:
            self._remove(earlier)

    def _replace(self, earlier: LocalObject, made: LocalObject) -> None:
        """Put a copy in the place of an earlier attempt's, which its readers keep."""
        if not earlier.pins:
            self._remove(earlier)
            return
        # A process's pins do not say of which copy they are.
        made.older, made.pins = earlier, earlier.pins

    def _refuse(self, process: Address, oid: ObjectId, size: int) -> None:
        self._context.send(process, objects.StoreCreated(oid, -1, self.full(size)))

    def _abandon(self, oid: ObjectId, process: Address) -> None:
        writers = self.writing[oid]
        writing = writers.pop(process)
        if not writers:
            del self.writing[oid]
        self._give_back(writing)

    def _give_back(self, writing: Writing) -> None:
        """Release the room of an object that nobody will read."""
        if writing.disk is not None:
            self._spiller.release(writing.disk)
        else:
            self._memory.free(writing.offset)

    def _insert(self, obj: LocalObject) -> LocalObject:
        self.objects[obj.oid] = obj
        prefix = obj.oid[:8]
        siblings = self._by_owner.get(prefix)
        if siblings is None:
            siblings = self._by_owner[prefix] = set()
        siblings.add(obj.oid)
        if obj.offset >= 0 and not obj.pins:
            self._reclaimer.idle(obj)
        return obj

    def _let_go(self, obj: LocalObject, count: int) -> None:
        obj.pins -= count
        if obj.pins:
            return
        self._release_older(obj)
        if obj.doomed:
            self._remove(obj)
        else:
            self._settle(obj)

    def _settle(self, obj: LocalObject) -> None:
        if obj.pins or obj.job:
            return
        if obj.offset >= 0:
            self._reclaimer.idle(obj)
        elif not obj.primary:
            self.lose(obj)  # a copy that found no room in memory: it was read

    def _remove(self, obj: LocalObject) -> None:
        oid = obj.oid
        del self.objects[oid]
        siblings = self._by_owner[oid[:8]]
        siblings.discard(oid)
        if not siblings:
            del self._by_owner[oid[:8]]
        self._release_older(obj)
        self._reclaimer.discard(obj)

    def _release_older(self, obj: LocalObject) -> None:
        older, obj.older = obj.older, None
        while older is not None:
            self._reclaimer.discard(older)
            older = older.older


def _stays(obj: LocalObject, attempt: int) -> bool:
    """Whether a copy stays although this attempt has made one, too."""
    if obj.attempt != attempt:
        return obj.attempt > attempt
    return bool(obj.pins or obj.job)


_NONE: dict[Address, Writing] = {}
