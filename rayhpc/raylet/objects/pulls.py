"""Moving objects between nodes: pulled in chunks, a bounded number under way, and served.

Used by `fetching` (start, hurry, abort) and `manager` (messages).  Knows nothing of waiters.

One object comes from one node from beginning to end: two copies need not be equal byte by byte,
since each may have been made by another run of its task.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.raylet.objects import spill
from rayhpc.raylet.objects.context import StoreContext
from rayhpc.raylet.objects.local import LocalObject
from rayhpc.raylet.objects.memory import Memory, RoomRequest
from rayhpc.raylet.objects.reclaim import Reclaimer
from rayhpc.raylet.objects.spill import Spiller, SpillPlace
from rayhpc.raylet.objects.table import ObjectTable
from rayhpc.store.arena import Arena
from rayhpc.wire.address import Address, NodeNumber, ObjectId, node_of, owner_node_of
from rayhpc.wire.messages import objects

CHUNK = spill.PIECE
# Objects being pulled at a time, chunks under way for all of them, and for one.
_PULLS = 16
_CHUNKS = 16
_CHUNKS_EACH = 4
# A node that lives but sends nothing for so long is given up as a source.
_SILENCE = 15.0


class Pull:
    """One object on its way here."""

    __slots__ = (
        "expected",
        "heard",
        "left",
        "next",
        "offset",
        "oid",
        "place",
        "request",
        "size",
        "source",
        "urgent",
    )

    def __init__(self, oid: ObjectId, size: int, source: NodeNumber, urgent: bool) -> None:
        self.oid = oid
        self.size = size
        self.source = source
        self.urgent = urgent
        self.request: RoomRequest | None = None
        self.offset = -1
        # Memory had no room: it comes to disk.
        self.place: SpillPlace | None = None
        self.next = 0
        self.left = size
        self.expected: set[int] = set()
        self.heard = 0.0


class Puller:
    """Transfers to and from this node.

    `ended(oid, size, full)`, set by the manager, hears of pulls that failed: no room here, or
    (full False) no copy there.  A pull that succeeds puts its object into the table.
    """

    def __init__(
        self,
        context: StoreContext,
        arena: Arena,
        memory: Memory,
        reclaimer: Reclaimer,
        table: ObjectTable,
        spiller: Spiller,
    ) -> None:
        self.ended: Callable[[ObjectId, int, bool], None] = lambda oid, size, full: None
        self._context = context
        self._arena = arena
        self._memory = memory
        self._reclaimer = reclaimer
        self._table = table
        self._spiller = spiller
        self._urgent: dict[ObjectId, Pull] = {}
        self._patient: dict[ObjectId, Pull] = {}
        self._active: dict[ObjectId, Pull] = {}
        self.arrived = 0
        self.arrived_bytes = 0
        self._under_way = 0
        self._watching = False

    # -- for `fetching` ----------------------------------------------------------------------------
    def start(self, oid: ObjectId, size: int, source: NodeNumber, urgent: bool) -> None:
        """Pull an object; those that somebody waits to read (urgent) come first."""
        (self._urgent if urgent else self._patient)[oid] = Pull(oid, size, source, urgent)
        self._admit()

    def hurry(self, oid: ObjectId) -> None:
        """Somebody waits to read it now."""
        pull = self._patient.pop(oid, None)
        if pull is not None:
            pull.urgent = True
            self._urgent[oid] = pull

    def abort(self, oid: ObjectId) -> None:
        """The object is no longer wanted, or is here by other means."""
        pull = self._urgent.get(oid) or self._patient.get(oid) or self._active.get(oid)
        if pull is not None:
            self._release(pull)
            self._admit()

    def on_node_gone(self, node: NodeNumber) -> None:
        """What comes from there does not come any more."""
        everything = [*self._urgent.values(), *self._patient.values(), *self._active.values()]
        self._fail([pull for pull in everything if pull.source == node])

    # -- transfers to us ---------------------------------------------------------------------------
    def on_chunk(self, source: Address, message: objects.Chunk) -> None:
        """A piece of an object, or word that there is none."""
        pull = self._active.get(message.oid)
        if pull is None or pull.source != node_of(source) or message.start not in pull.expected:
            return
        data = message.data
        wanted = min(CHUNK, pull.size - message.start)
        if message.total != pull.size or len(data) != wanted:
            self._fail([pull])
            return
        pull.expected.discard(message.start)
        self._under_way -= 1
        pull.heard = self._context.now()
        if not self._write(pull, message.start, data):
            self._give_up(pull)
            return
        pull.left -= wanted
        if pull.left:
            self._pour()
            return
        del self._active[pull.oid]
        self.arrived += 1
        self.arrived_bytes += pull.size
        offset = -1 if pull.place is not None else pull.offset
        self._table.add(pull.oid, offset, pull.size, primary=False, disk=pull.place)
        self._admit()

    def _write(self, pull: Pull, start: int, data: bytes) -> bool:
        """Put a piece where it belongs; False: the disk refuses it."""
        if pull.place is not None:
            pull.place.checked = True
            return spill.add_piece(pull.place, start, data)
        with self._arena.view(pull.offset + start, len(data)) as view:
            view[:] = data
        return True

    def _admit(self) -> None:
        while len(self._active) < _PULLS:
            waiting = self._urgent or self._patient
            if not waiting:
                break
            oid = next(iter(waiting))
            pull = self._active[oid] = waiting.pop(oid)
            self._find_room(pull)
        self._pour()

    def _find_room(self, pull: Pull) -> None:
        request = RoomRequest(
            pull.size,
            self._context.me,
            granted=lambda offset: self._granted(pull, offset),
            refused=lambda: self._give_up(pull),
            reader=True,
            stalled=lambda: self._to_disk(pull),
        )
        if pull.size > self._memory.size:
            if not self._to_disk(pull):
                self._release(pull)
                self.ended(pull.oid, pull.size, True)
            return
        pull.request = request
        if pull.urgent:
            self._memory.ask(request)
            return
        # Fetched ahead of need: takes what is free, or what others have done with.
        while not self._memory.ask_now(request):
            if not self._reclaimer.evict_seen():
                self._release(pull)
                self.ended(pull.oid, pull.size, True)
                return

    def _to_disk(self, pull: Pull) -> bool:
        """Have it come to a spill file, to be mapped there; False: there is no room either."""
        place = self._spiller.place(pull.size)
        if place is None:
            return False
        pull.request = None
        self._context.executor.submit(
            lambda: spill.reserve(place), lambda ok: self._reserved(pull, place, ok)
        )
        return True

    def _reserved(self, pull: Pull, place: SpillPlace, ok: bool) -> None:
        if self._active.get(pull.oid) is not pull:
            self._spiller.release(place)
        elif ok:
            pull.place = place
            self._granted(pull, 0)
        else:
            self._spiller.failed(place, f"it has no room for {place.size} bytes")
            self._give_up(pull)

    def _granted(self, pull: Pull, offset: int) -> None:
        pull.request = None
        pull.offset = offset
        pull.heard = self._context.now()
        if not self._watching:
            self._watching = True
            self._context.timers.after(_SILENCE / 3, self._watch)
        self._pour()

    def _pour(self) -> None:
        """Ask for chunks, as many as may be under way."""
        for pull in self._active.values():
            if pull.offset < 0:
                continue
            while pull.next < pull.size and len(pull.expected) < _CHUNKS_EACH:
                if self._under_way >= _CHUNKS:
                    return
                start, length = pull.next, min(CHUNK, pull.size - pull.next)
                pull.next += length
                pull.expected.add(start)
                self._under_way += 1
                self._context.post(
                    pull.source, objects.ReadChunk(pull.oid, start, length, self._context.node)
                )

    def _watch(self) -> None:
        self._watching = False
        long_ago = self._context.now() - _SILENCE
        self._fail([p for p in self._active.values() if p.expected and p.heard <= long_ago])
        if self._active:
            self._watching = True
            self._context.timers.after(_SILENCE / 3, self._watch)

    def _fail(self, pulls: list[Pull]) -> None:
        """These sources do not have the objects, or are gone."""
        for pull in pulls:
            self._release(pull)
        for pull in pulls:
            self.ended(pull.oid, pull.size, False)
        self._admit()

    def _give_up(self, pull: Pull) -> None:
        self._release(pull)
        self.ended(pull.oid, pull.size, True)
        self._admit()

    def _release(self, pull: Pull) -> None:
        for pulls in (self._urgent, self._patient, self._active):
            if pulls.get(pull.oid) is pull:
                del pulls[pull.oid]
        self._under_way -= len(pull.expected)
        pull.expected.clear()
        if pull.request is not None:
            self._memory.withdraw(pull.request)
            pull.request = None
        if pull.place is not None:
            self._spiller.release(pull.place)
            pull.place = None
        elif pull.offset >= 0:
            self._memory.free(pull.offset)
        pull.offset = -1

    # -- transfers from us -------------------------------------------------------------------------
    def on_read_chunk(self, message: objects.ReadChunk) -> None:
        """Another raylet wants a piece of an object."""
        oid, start = message.oid, message.start
        obj = self._table.get(oid)
        if obj is None:
            self._context.post(message.node, objects.Chunk(oid, start, -1, b""))
            self._context.post(owner_node_of(oid), objects.ObjectGone(oid, self._context.node))
            return
        length = min(message.length, CHUNK, obj.size - start)
        if start < 0 or length < 1:
            self._context.post(message.node, objects.Chunk(oid, start, -1, b""))
        elif obj.offset >= 0:
            with self._arena.view(obj.offset + start, length) as view:
                data = bytes(view)
            self._context.post(message.node, objects.Chunk(oid, start, obj.size, data))
        else:
            self._read_from_disk(obj, message.node, start, length)

    def _read_from_disk(self, obj: LocalObject, node: NodeNumber, start: int, length: int) -> None:
        place = obj.disk
        assert place is not None

        def done(data: bytes | None) -> None:
            if data is None:
                if not obj.gone and obj.offset < 0 and not obj.job:
                    self._table.lose(obj, place.corrupt())
                self._context.post(node, objects.Chunk(obj.oid, start, -1, b""))
            else:
                self._context.post(node, objects.Chunk(obj.oid, start, obj.size, data))

        self._context.executor.submit(lambda: spill.read_pieces(place, start, length), done)
