"""Objects on their way here from other nodes: admitted, requested in parts, with bounded numbers.

Used by `fetching` (start, hurry, abort) and `manager` (messages).  Knows nothing of waiters.

An object of more than one chunk comes in spans over channels of the data plane (`channels`) if its
source can be reached that way, else in chunks over the control plane; so do objects that find room
only on disk.  A failed pull keeps its room and what has arrived for a moment: it may continue from
another copy, if that is of the same edition (`progress`).
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.raylet.objects import channels, spill
from rayhpc.raylet.objects.channels import Channels
from rayhpc.raylet.objects.context import StoreContext
from rayhpc.raylet.objects.local import LocalObject
from rayhpc.raylet.objects.memory import Memory, RoomRequest
from rayhpc.raylet.objects.pull import Pull
from rayhpc.raylet.objects.reclaim import Reclaimer
from rayhpc.raylet.objects.spill import Spiller, SpillPlace
from rayhpc.raylet.objects.table import ObjectTable
from rayhpc.store.arena import Arena
from rayhpc.wire.address import Address, NodeNumber, ObjectId, node_of
from rayhpc.wire.messages import objects

CHUNK = spill.PIECE
# The most bytes of a span; an object is cut into about four, so that both channels stay busy, and
# into smaller ones while channels break.
SPAN = 8 * CHUNK
_SPANS_EACH = 4
# Memory is made real in parts of this size while others are being written: doing so for a gigabyte
# at once would keep its first byte waiting.
PART = 2 * _SPANS_EACH * SPAN
# Objects being pulled at a time, chunks in flight for all of them, and for one.
_PULLS = 16
_CHUNKS = 16
_CHUNKS_EACH = 4
# A live node that sends no chunk for this long is given up as a source: soon if there is another
# copy, else only when there is no hope left (it may have to read from a slow disk).
_SILENCE, _SILENCE_WITH_OTHERS = 15.0, 3.0
_WATCH_S = 1.0
# How long a failed pull keeps its room, to continue from another copy.
_PARKED_S = 2.0


class Puller:
    """Transfers to this node.

    `ended(oid, size, full)`, set by the manager, is called for pulls that failed: no room here,
    or (full False) no copy there.  A pull that succeeds puts its object into the table.
    """

    def __init__(
        self,
        context: StoreContext,
        arena: Arena,
        memory: Memory,
        reclaimer: Reclaimer,
        table: ObjectTable,
        spiller: Spiller,
        ways: Channels,
    ) -> None:
        self.ended: Callable[[ObjectId, int, bool], None] = lambda oid, size, full: None
        self._context = context
        self._arena = arena
        self._memory = memory
        self._reclaimer = reclaimer
        self._table = table
        self._spiller = spiller
        self._ways = ways
        ways.arrived = self._on_span
        ways.lost = self._on_spans_lost
        ways.refused = self._on_span_refused
        ways.changed = lambda node: self._pour()
        self._urgent: dict[ObjectId, Pull] = {}
        self._patient: dict[ObjectId, Pull] = {}
        self._active: dict[ObjectId, Pull] = {}
        self._parked: dict[ObjectId, Pull] = {}
        # Also of pulls that have ended: their room stays taken until nothing is written to it.
        self._tokens: dict[int, Pull] = {}
        self.arrived = 0
        self.arrived_bytes = 0
        self._under_way = 0
        self._watching = False

    # -- for `fetching` ----------------------------------------------------------------------------
    def start(
        self,
        oid: ObjectId,
        size: int,
        source: NodeNumber,
        urgent: bool,
        others: bool = False,
        came: tuple[bytes, int] | None = None,
        attempt: int = 0,
    ) -> None:
        """Pull an object; those that somebody waits to read (urgent) are pulled first.

        Args:
            oid: the object.
            size: its bytes.
            source: a node that has it.
            urgent: somebody waits to read it.
            others: further nodes have it.
            came: its bytes and their edition, if they have arrived already.
            attempt: the attempt whose copies these are.
        """
        parked = self._parked.pop(oid, None)
        if parked is not None and (parked.size, parked.attempt) == (size, attempt):
            parked.source, parked.urgent, parked.others = source, urgent, others
            parked.by_chunks = False
            self._active[oid] = parked
            self._go_on(parked)
            return
        if parked is not None:
            self._release(parked)
        pull = Pull(oid, size, source, urgent, others, attempt)
        if came is not None and len(came[0]) == size:
            pull.came = came
        (self._urgent if urgent else self._patient)[oid] = pull
        self._admit()

    def hurry(self, oid: ObjectId) -> None:
        """Make a pull urgent: somebody waits to read the object now."""
        pull = self._patient.pop(oid, None)
        if pull is not None:
            pull.urgent = True
            self._urgent[oid] = pull

    def abort(self, oid: ObjectId) -> None:
        """Stop a pull: the object is no longer wanted, or got here by other means."""
        for pulls in (self._urgent, self._patient, self._active, self._parked):
            pull = pulls.get(oid)
            if pull is not None:
                self._release(pull)
                self._admit()

    def on_node_gone(self, node: NodeNumber) -> None:
        """Fail the pulls from a node that has ended."""
        everything = [*self._urgent.values(), *self._patient.values(), *self._active.values()]
        self._fail([pull for pull in everything if pull.source == node])

    # -- what comes --------------------------------------------------------------------------------
    def on_chunk(self, source: Address, message: objects.Chunk) -> None:
        """Take a chunk of an object, or the answer that there is none."""
        pull = self._active.get(message.oid)
        if pull is None or pull.source != node_of(source) or message.start not in pull.chunks:
            return
        if message.attempt != pull.attempt:
            return  # answers a pull that was stopped: ours is still to be answered
        data = message.data
        length = pull.chunks[message.start]
        if message.total != pull.size or len(data) != length:
            self._fail([pull])
            return
        del pull.chunks[message.start]
        self._under_way -= 1
        if not self._write(pull, message.start, data):
            self._give_up(pull)
            return
        self._take(pull, message.start, length, message.edition)

    def _on_span(self, token: int, edition: int) -> None:
        pull = self._tokens.pop(token)
        start, length = pull.spans.pop(token)
        self._take(pull, start, length, edition)

    def _on_spans_lost(self, tokens: list[int]) -> None:
        """The channel has broken: try another copy, if there is one, or the same one again."""
        hit: dict[ObjectId, Pull] = {}
        for token in tokens:
            pull = self._tokens.pop(token)
            pull.progress.put_back(*pull.spans.pop(token))
            if self._active.get(pull.oid) is pull:
                hit[pull.oid] = pull
            else:
                self._tidy(pull)
        self._fail([pull for pull in hit.values() if pull.others])

    def _on_span_refused(self, token: int, why: int) -> None:
        pull = self._tokens.pop(token)
        pull.progress.put_back(*pull.spans.pop(token))
        if self._active.get(pull.oid) is not pull:
            self._tidy(pull)
        elif why == objects.NOT_IN_MEMORY:
            pull.by_chunks = True
            self._pour()
        else:
            self._fail([pull])

    def _take(self, pull: Pull, start: int, length: int, edition: int) -> None:
        """Note that a part has arrived and is in its place."""
        pull.progress.arrived(start, length, edition)
        pull.heard = self._context.now()
        is_wanted = pull in (self._active.get(pull.oid), self._parked.get(pull.oid))
        if not is_wanted:
            self._tidy(pull)
        elif pull.progress.is_whole:
            self._finish(pull)
        else:
            self._pour()

    def _finish(self, pull: Pull) -> None:
        self._take_out(pull)
        self.arrived += 1
        self.arrived_bytes += pull.size
        self._table.add(
            LocalObject(
                pull.oid,
                -1 if pull.place is not None else pull.offset,
                pull.size,
                primary=False,
                disk=pull.place,
                edition=pull.progress.edition,
                attempt=pull.attempt,
            )
        )
        self._admit()

    def _write(self, pull: Pull, start: int, data: bytes) -> bool:
        """Put a chunk where it belongs; False: the disk refuses it."""
        if pull.place is not None:
            pull.place.checked = True
            return spill.add_piece(pull.place, start, data)
        with self._arena.view(pull.offset + start, len(data)) as view:
            view[:] = data
        return True

    # -- who comes in, and where -------------------------------------------------------------------
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
            in_parts=pull.size > PART,
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
        # Fetched ahead of need: takes what is free, or copies that have been read already.
        while not self._memory.ask_now(request):
            if not self._reclaimer.evict_seen():
                self._release(pull)
                self.ended(pull.oid, pull.size, True)
                return

    def _to_disk(self, pull: Pull) -> bool:
        """Pull it into a spill file, to be mapped there; False: there is no room there either."""
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
        on_disk = pull.place is not None
        pull.real = pull.size if on_disk else self._memory.real(offset, pull.size)
        self._go_on(pull)

    def _commit_more(self, pull: Pull) -> None:
        """Have the next part of its room made real, ahead of use."""
        if pull.committing or pull.real == pull.size:
            return
        pull.committing = True
        length = min(PART, pull.size - pull.real)
        self._memory.commit_part(
            pull.offset + pull.real, length, lambda ok: self._committed(pull, length, ok)
        )

    def _committed(self, pull: Pull, length: int, ok: bool) -> None:
        pull.committing = False
        if ok:
            pull.real += length
        if self._active.get(pull.oid) is not pull:
            self._tidy(pull)
        elif ok:
            self._pour()
        else:
            # As with any other object for which the machine has no memory: evict, or use the disk.
            self._release(pull)
            self.start(
                pull.oid,
                pull.size,
                pull.source,
                pull.urgent,
                pull.others,
                attempt=pull.attempt,
            )

    def _go_on(self, pull: Pull) -> None:
        pull.heard = self._context.now()
        self._watch_later()
        self._pour()

    # -- asking ------------------------------------------------------------------------------------
    def _pour(self) -> None:
        """Request as many parts as may be in flight."""
        for pull in list(self._active.values()):
            if pull.offset < 0 or not pull.progress.wants_more:
                continue
            self._commit_more(pull)
            if pull.came is not None:
                self._take_what_came(pull, *pull.came)
                continue
            way = self._way(pull)
            if way == channels.OPEN:
                self._ask_spans(pull)
            elif way == channels.NONE:
                self._ask_chunks(pull)

    def _take_what_came(self, pull: Pull, data: bytes, edition: int) -> None:
        pull.came = None
        start, length = pull.progress.take(pull.size)
        if self._write(pull, start, data):
            self._take(pull, start, length, edition)
        else:
            pull.progress.put_back(start, length)
            self._give_up(pull)

    def _way(self, pull: Pull) -> int:
        if pull.by_chunks or pull.place is not None or pull.size <= CHUNK:
            return channels.NONE
        return self._ways.way(pull.source)

    def _take_part(self, pull: Pull, most: int) -> tuple[int, int]:
        """The next part to ask for, start and length; its length is 0: none just now."""
        if not pull.progress.wants_more:
            return 0, 0
        start, length = pull.progress.take(most)
        if start + length > pull.real:
            pull.progress.put_back(start, length)
            return 0, 0
        return start, length

    def _ask_spans(self, pull: Pull) -> None:
        most = min(SPAN, pull.size // _SPANS_EACH // CHUNK * CHUNK)
        # The smaller a span, the likelier it arrives before its channel breaks.
        most = max(CHUNK, most >> self._ways.breaks(pull.source))
        while len(pull.spans) < _SPANS_EACH:
            start, length = self._take_part(pull, most)
            if not length:
                return
            token = self._ways.ask(
                pull.source, pull.oid, pull.size, pull.attempt, start, length, pull.offset + start
            )
            if not token:
                pull.progress.put_back(start, length)
                return
            pull.spans[token] = (start, length)
            self._tokens[token] = pull

    def _ask_chunks(self, pull: Pull) -> None:
        while len(pull.chunks) < _CHUNKS_EACH and self._under_way < _CHUNKS:
            start, length = self._take_part(pull, CHUNK)
            if not length:
                return
            pull.chunks[start] = length
            self._under_way += 1
            ask = objects.ReadChunk(pull.oid, start, length, self._context.node, pull.attempt)
            self._context.post(pull.source, ask)

    def _watch_later(self) -> None:
        if not self._watching:
            self._watching = True
            self._context.timers.after(_WATCH_S, self._watch)

    def _watch(self) -> None:
        self._watching = False
        now = self._context.now()
        silent = [
            pull
            for pull in self._active.values()
            if pull.chunks
            and now - pull.heard >= (_SILENCE_WITH_OTHERS if pull.others else _SILENCE)
        ]
        self._fail(silent)
        if self._active:
            self._watch_later()

    # -- what does not come ------------------------------------------------------------------------
    def _fail(self, pulls: list[Pull]) -> None:
        """Fail pulls whose sources do not have the objects, are gone, or do not send them."""
        for pull in pulls:
            if pull.progress.has_begun and pull.place is None:
                self._park(pull)
            else:
                self._release(pull)
        for pull in pulls:
            self.ended(pull.oid, pull.size, False)
        self._admit()

    def _give_up(self, pull: Pull) -> None:
        self._release(pull)
        self.ended(pull.oid, pull.size, True)
        self._admit()

    def _park(self, pull: Pull) -> None:
        """Keep what has arrived for a moment: another copy may be found."""
        self._take_out(pull)
        self._parked[pull.oid] = pull

        def forget() -> None:
            if self._parked.get(pull.oid) is pull:
                self._release(pull)

        self._context.timers.after(_PARKED_S, forget)

    def _release(self, pull: Pull) -> None:
        self._take_out(pull)
        if pull.request is not None:
            self._memory.withdraw(pull.request)
            pull.request = None
        if pull.place is not None:
            self._spiller.release(pull.place)
            pull.place = None
            pull.offset = -1
        self._tidy(pull)

    def _take_out(self, pull: Pull) -> None:
        for pulls in (self._urgent, self._patient, self._active, self._parked):
            if pulls.get(pull.oid) is pull:
                del pulls[pull.oid]
        self._under_way -= len(pull.chunks)
        for part in pull.chunks.items():
            pull.progress.put_back(*part)
        pull.chunks.clear()

    def _tidy(self, pull: Pull) -> None:
        """Release the room of a pull that has ended once nothing is written there any more."""
        is_used = pull.spans or pull.committing or self._parked.get(pull.oid) is pull
        if pull.offset >= 0 and not is_used:
            self._memory.free(pull.offset)
            pull.offset = -1
