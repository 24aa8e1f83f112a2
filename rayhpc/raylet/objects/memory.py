"""Room in the arena: who gets it at once, who waits for it, and when waiting is pointless.

Used by `table` (writers) and `pulls`, `reclaim` (incoming copies).  Knows sizes and offsets, not
objects; `reclaim`, called through `make_room`, decides what can go to make room.

Real memory is committed (`Arena.commit`) before an allocation is handed out, up to a mark that only
moves up.  A little more than needed is committed and cleared in the background, just ahead of use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rayhpc.raylet.objects.context import StoreContext
from rayhpc.store.allocator import Allocator
from rayhpc.store.arena import Arena
from rayhpc.wire.address import Address

# Small enough to be committed in the loop itself: takes less than a millisecond.
_AT_ONCE = 2 * 2**20
_AHEAD_MIN, _AHEAD_MAX = 16 * 2**20, 64 * 2**20
# A request is refused when nothing at all has become free for this long.
WRITER_PATIENCE = 5.0
READER_PATIENCE = 30.0
_CHECK_EVERY = 0.5
# If nothing has become free for this long, and nothing is being spilled, no room is coming.
STALLED = 0.1
# When to try again after the machine had no memory left.
_GROW_AGAIN = 5.0


class RoomRequest:
    """A request that waits for room.

    Args:
        size: bytes.
        process: who will write or read there (its death ends the request).
        granted: called with the offset.
        refused: called when it has waited in vain.
        stalled: called when no room is coming; True: it is served elsewhere and stops waiting.
        reader: a copy that someone waits to read; served before writers, and waits longer.
        in_parts: it may be granted before its memory is real; whoever asked then has each part
            made real (`Memory.commit_part`) before it is written.
    """

    __slots__ = (
        "asked",
        "granted",
        "in_parts",
        "process",
        "reader",
        "refused",
        "size",
        "stalled",
        "withdrawn",
    )

    def __init__(
        self,
        size: int,
        process: Address,
        granted: Callable[[int], None],
        refused: Callable[[], None],
        reader: bool,
        stalled: Callable[[], bool] = lambda: False,
        in_parts: bool = False,
    ) -> None:
        self.size = size
        self.process = process
        self.granted = granted
        self.refused = refused
        self.stalled = stalled
        self.reader = reader
        self.in_parts = in_parts
        self.withdrawn = False
        self.asked = 0.0


class Memory:
    """Allocates the arena's memory.

    `make_room(size)`, set by the manager, frees something with `free` and returns True, or returns
    False, perhaps having started something that will free some later; `is_making_room` says
    whether that is in progress.
    """

    def __init__(self, arena: Arena, context: StoreContext) -> None:
        self.make_room: Callable[[int], bool] = lambda size: False
        self.is_making_room: Callable[[], bool] = lambda: False
        self.size = arena.size
        self.starved = False
        self._arena = arena
        self._context = context
        self._allocator = Allocator(arena.size)
        self._committed = 0
        self._committing = False
        self._populating = False
        self._to_commit: list[tuple[int, RoomRequest]] = []
        self._readers: deque[RoomRequest] = deque()
        self._writers: deque[RoomRequest] = deque()
        self._pumping = False
        self._again = False
        self._checking = False
        self._progress = context.now()
        self._last_size = 0

    @property
    def used(self) -> int:
        """Allocated bytes."""
        return self._allocator.used

    @property
    def capacity(self) -> int:
        """The most bytes available: less than the arena while the machine has no more memory."""
        return self._allocator.capacity

    @property
    def unused(self) -> int:
        """Free bytes, in gaps of any size."""
        return self._allocator.capacity - self._allocator.used

    def take(self, size: int, process: Address) -> int | None:
        """Take room that is free now, or None; never overtakes waiting requests."""
        if self._writers or self._readers:
            return None
        offset = self._allocator.allocate(size, process)
        if offset is None:
            return None
        end = offset + size
        if end > self._committed and not self._commit_at_once(end):
            self._allocator.free(offset)
            return None
        if end > self._committed - _AHEAD_MIN // 2:
            self._last_size = size
            self._commit_ahead()
        return offset

    def ask(self, request: RoomRequest) -> None:
        """Request room as soon as there is some; `granted` or `refused` may be called at once."""
        request.asked = self._context.now()
        (self._readers if request.reader else self._writers).append(request)
        self._context.timers.after(STALLED, lambda: self._look_elsewhere(request))
        self.retry()

    def retry(self) -> None:
        """Look at the waiting requests again: `make_room` may have new options."""
        self._pump()
        if not self._checking and (self._readers or self._writers):
            self._checking = True
            self._context.timers.after(_CHECK_EVERY, self._check)

    def ask_now(self, request: RoomRequest) -> bool:
        """Request room only if it is free now: `granted` will be called; else False, at once."""
        offset = self._find(request)
        if offset is None:
            return False
        self._grant(request, offset)
        return True

    def real(self, offset: int, size: int) -> int:
        """How many bytes from the start of a block are real memory."""
        return min(size, max(0, self._committed - offset))

    def commit_part(self, offset: int, size: int, done: Callable[[bool], None]) -> None:
        """Make part of a block real that was granted in parts.

        Args:
            offset: where.
            size: bytes.
            done: called with whether it is; if not, the machine has no more memory, and until
                there is some nothing is granted in parts.
        """
        arena = self._arena

        def committed(ok: bool) -> None:
            if not ok:
                self._starve()
            elif offset <= self._committed:
                self._committed = max(self._committed, offset + size)
            done(ok)

        self._context.executor.submit(lambda: _commit(arena, offset, size), committed)

    def withdraw(self, request: RoomRequest) -> None:
        """Withdraw a request that is no longer wanted; neither callback will be called."""
        request.withdrawn = True
        queue = self._readers if request.reader else self._writers
        if request in queue:
            queue.remove(request)
            self._pump()

    def free(self, offset: int) -> None:
        """Take room back."""
        self._allocator.free(offset)
        if self._readers or self._writers:
            self._progress = self._context.now()
            self._pump()

    def on_process_died(self, process: Address) -> None:
        """Drop a dead process's requests."""
        for request in [*self._readers, *self._writers, *(r for _, r in self._to_commit)]:
            if request.process == process:
                self.withdraw(request)

    # -- serving -----------------------------------------------------------------------------------
    def _pump(self) -> None:
        self._again = True
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._again:
                self._again = False
                self._serve(self._readers, True)
                # Writers pass a waiting reader, but what is being freed is for the reader: the task
                # that will release its memory may have to write its result first.
                self._serve(self._writers, not self._readers)
        finally:
            self._pumping = False

    def _serve(self, queue: deque[RoomRequest], reclaim: bool) -> None:
        while queue:
            request = queue[0]
            offset = self._find(request)
            while offset is None and reclaim and self.make_room(request.size):
                offset = self._find(request)
            if offset is None:
                return
            queue.popleft()
            self._grant(request, offset)

    def _find(self, request: RoomRequest) -> int | None:
        offset = self._allocator.allocate(request.size, request.process)
        if offset is not None and self.starved and offset + request.size > self._committed:
            # Between blocks that were granted in parts may be memory that is not to be had.
            self._allocator.free(offset)
            return None
        return offset

    def _grant(self, request: RoomRequest, offset: int) -> None:
        if request.in_parts or offset + request.size <= self._committed:
            request.granted(offset)
            return
        self._to_commit.append((offset, request))
        self._last_size = request.size
        self._commit_wanted()

    def _look_elsewhere(self, request: RoomRequest) -> None:
        """Try the disk for a request that has waited for a moment, if no room is coming."""
        queue = self._readers if request.reader else self._writers
        if request.withdrawn or request not in queue:
            return
        waited = self._context.now() - max(request.asked, self._progress)
        if waited >= STALLED and not self._committing and not self.is_making_room():
            queue.remove(request)
            if request.stalled():
                self._pump()
                return
            queue.appendleft(request)
        self._context.timers.after(STALLED, lambda: self._look_elsewhere(request))

    def _check(self) -> None:
        self._checking = False
        now = self._context.now()
        for queue, patience in (
            (self._readers, READER_PATIENCE),
            (self._writers, WRITER_PATIENCE),
        ):
            for request in list(queue):
                if now - max(request.asked, self._progress) >= patience and request in queue:
                    queue.remove(request)
                    request.refused()
        self.retry()

    # -- real memory -------------------------------------------------------------------------------
    def _commit_at_once(self, end: int) -> bool:
        missing = end - self._committed
        if (
            self._committing
            or missing > _AT_ONCE
            or not _commit(self._arena, self._committed, missing)
        ):
            return False
        self._committed = end
        return True

    def _commit_wanted(self) -> None:
        if self._committing or not self._to_commit:
            return
        end = max(offset + request.size for offset, request in self._to_commit)
        start = self._committed
        if end <= start:
            self._grant_committed()
            return
        self._committing = True
        arena = self._arena
        self._context.executor.submit(
            lambda: _commit(arena, start, end - start), lambda ok: self._on_committed(end, ok)
        )

    def _on_committed(self, end: int, ok: bool) -> None:
        self._committing = False
        if ok:
            self._committed = max(self._committed, end)
            self._grant_committed()
            self._commit_wanted()
            self._commit_ahead()
        else:
            self._on_no_memory()

    def _grant_committed(self) -> None:
        waiting, self._to_commit = self._to_commit, []
        for offset, request in waiting:
            if request.withdrawn:
                self.free(offset)
            elif offset + request.size <= self._committed:
                request.granted(offset)
            else:
                self._to_commit.append((offset, request))

    def _on_no_memory(self) -> None:
        """The machine has no more memory: make do with what there is, and try again later."""
        waiting, self._to_commit = self._to_commit, []
        for offset, request in reversed(waiting):
            self._allocator.free(offset)
            if not request.withdrawn:
                (self._readers if request.reader else self._writers).appendleft(request)
        self._starve()
        self.retry()

    def _starve(self) -> None:
        self._allocator.retract(self._committed)
        if not self.starved:
            self.starved = True
            self._context.timers.after(_GROW_AGAIN, self._grow_again)

    def _grow_again(self) -> None:
        self.starved = False
        self._allocator.capacity = self.size
        self._pump()

    def _commit_ahead(self) -> None:
        """Commit and clear the memory that will be needed next, if growth continues."""
        if self._committing or self._to_commit or self.starved:
            return
        ahead = min(max(_AHEAD_MIN, self._last_size), _AHEAD_MAX, self.size // 8)
        start = self._committed
        end = min(self._allocator.edge + ahead, self.size)
        if end - start < ahead // 2:
            return
        self._committing = True
        arena = self._arena
        self._context.executor.submit(
            lambda: _commit(arena, start, end - start), lambda ok: self._on_ahead(start, end, ok)
        )

    def _on_ahead(self, start: int, end: int, ok: bool) -> None:
        self._committing = False
        if ok:
            self._committed = max(self._committed, end)
            if not self._populating:
                self._populating = True
                self._context.executor.submit(
                    lambda: self._arena.populate(start, end - start), self._on_populated
                )
        self._grant_committed()
        self._commit_wanted()

    def _on_populated(self, _: bool) -> None:
        self._populating = False


def _commit(arena: Arena, offset: int, size: int) -> bool:
    try:
        return arena.commit(offset, size)
    except OSError:
        return False
