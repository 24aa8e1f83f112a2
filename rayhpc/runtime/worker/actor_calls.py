"""Which calls of an actor run, in what order and where, and when the actor ends: a state machine.

Fed by `worker` with messages and by `actor` with what becomes of calls, also in the simulation;
where calls run (the main thread, threads, event loops) is passed in as `Lanes`.  Runs in the
leading thread, except for `take` and `has_work`, which the main thread calls.

An actor that runs its calls one by one takes them in order (`call_order` says when another one
goes first).  In one with threads or event loops a call starts as soon as its arguments are on this
node and its concurrency group has room: it overtakes those whose arguments are on their way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from rayhpc.runtime.values.store_client import StoreClient, Tickets
from rayhpc.runtime.worker.call_order import has_far, is_again
from rayhpc.runtime.worker.held_calls import HeldCalls
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import tasks

# How many calls of a group have their arguments fetched at the same time: they are pinned.
FETCHING_MAX = 64


class Item(msgspec.Struct, eq=False, gc=False):
    """A call that has not ended; `views` are its arguments that came from a store."""

    caller: Address
    call: tasks.Call
    views: dict[ObjectId, Any] | None = None


class Lanes(Protocol):
    """Where concurrent calls run: threads or event loops."""

    def constructor(self, cls: Any) -> Callable[..., Any]:
        """The function that makes the instance, called in the main thread."""

    def start(self, group: str, items: list[Item]) -> None:
        """Run calls of a concurrency group, in this order, as soon as it has room."""

    def cancel(self, tid: ObjectId) -> bool:
        """Cancel a call; True: it had not started, and is forgotten."""

    def queued(self) -> list[Item]:
        """The calls that have not started."""

    def clear(self) -> None:
        """Forget what has not started."""


class _Group:
    """One concurrency group: how many run at a time, and whose arguments are not here yet."""

    def __init__(self, limit: int) -> None:
        self.fetching_max = min(limit, FETCHING_MAX)
        self.far: deque[Item] = deque()
        self.fetching: dict[ObjectId, tuple[Item, Tickets]] = {}


class ActorCalls:
    """The calls of one actor.

    Args:
        limits: how many calls of each concurrency group run at a time.
        store: brings arguments here.
        reply_cancelled: answers for a call that was cancelled before it started.
        is_behind: whether a caller has too many unread replies to add another.
    """

    def __init__(
        self,
        limits: dict[str, int],
        store: StoreClient,
        reply_cancelled: Callable[[Address, ObjectId], None],
        is_behind: Callable[[Address], bool],
    ) -> None:
        # The calls that the main thread runs one by one; before the constructor has ended, all.
        self.waiting: deque[Item] = deque()
        self.is_constructed = False
        # Why the actor leaves as soon as its calls have ended; None: it does not.
        self.ending: str | None = None
        # Whether a call was ever cancelled while it ran: read as an attribute after each call.
        self.has_cancelled = False
        self._groups = {name: _Group(limit) for name, limit in limits.items()}
        self.held: HeldCalls[Item] = HeldCalls(is_behind)
        self._store = store
        self._reply_cancelled = reply_cancelled
        self._lanes: Lanes | None = None
        self._is_over = False
        # Calls that have been given to the main thread or a lane → whether they were cancelled.
        self._started: dict[ObjectId, bool] = {}

    # -- messages ----------------------------------------------------------------------------------
    def enqueue(self, caller: Address, calls: Sequence[tasks.Call]) -> None:
        """Take calls that have arrived."""
        if self._is_over:
            return  # the callers are told of the end
        items = [Item(caller, call) for call in calls]
        if self._lanes is None:
            self.waiting.extend(items)
        else:
            self._admit(items)

    def cancel(self, caller: Address, tid: ObjectId) -> None:
        """Cancel a call; one that has not started never will.

        A running call can ask whether it was cancelled, and a coroutine is cancelled.
        """
        if self._forget_waiting(tid) or self._forget_far(tid) or self.held.forget(tid):
            self._reply_cancelled(caller, tid)
        elif tid in self._started:
            self._started[tid] = self.has_cancelled = True
            if self._lanes is not None and self._lanes.cancel(tid):
                del self._started[tid]
                self._reply_cancelled(caller, tid)

    def end_when_done(self, reason: str) -> None:
        """Leave when the calls that are here have ended: nobody can call any more."""
        self.ending = reason

    # -- what becomes of them ----------------------------------------------------------------------
    def constructed(self, lanes: Lanes | None) -> None:
        """The constructor has ended; `lanes`: where calls run (None: in the main thread)."""
        self.is_constructed = True
        self._lanes = lanes
        if lanes is not None:
            waiting, self.waiting = self.waiting, deque()
            self._admit(list(waiting))

    def started(self, item: Item) -> None:
        """The main thread has taken a call out of `waiting` and runs it."""
        self._started[item.call.tid] = False

    def ended(self, tid: ObjectId) -> bool:
        """A call has ended; True: it was cancelled meanwhile."""
        return self._started.pop(tid, False)

    def is_cancelled(self, tid: ObjectId) -> bool:
        """Whether a call that runs was cancelled (any thread)."""
        return self._started.get(tid, False)

    def stop(self) -> None:
        """The actor ends now: no call starts any more."""
        self._is_over = True
        self.waiting.clear()
        self.held.clear()
        for group in self._groups.values():
            group.far.clear()
            for _, tickets in group.fetching.values():
                self._store.cancel(tickets.oids, tickets.promises)
            group.fetching.clear()
        if self._lanes is not None:
            self._lanes.clear()

    # -- callers that do not read their replies ----------------------------------------------------
    def hold_back(self, item: Item) -> bool:
        """Hold back a call that a lane is about to run, if its caller is behind."""
        if not self.held.add(item):
            return False
        self._started.pop(item.call.tid, None)
        return True

    def hold_back_waiting(self) -> None:
        """Hold back, before the main thread runs the first call, those whose callers are behind."""
        while self.waiting and self.held.add(self.waiting[0]):
            self.waiting.popleft()

    def release_held(self) -> None:
        """Start the calls of callers that have caught up."""
        items = self.held.released()
        if self._lanes is None:
            self.waiting.extendleft(reversed(items))
            return
        for item in items:
            group = item.call.group
            self._start(group if group in self._groups else "", [item])

    def queued(self) -> list[Item]:
        """The calls whose arguments are here, but which have not started."""
        held = [item for items in self.held.by_caller.values() for item in items]
        return held + (list(self.waiting) if self._lanes is None else self._lanes.queued())

    # -- the main thread ---------------------------------------------------------------------------
    def has_work(self) -> bool:
        """Whether the main thread has something to do."""
        if self.waiting or not self.is_constructed:
            return True
        return self.ending is not None and self.may_leave()

    def may_leave(self) -> bool:
        """Whether the actor is to end, and its calls have ended."""
        return (
            self.ending is not None
            and not (self.waiting or self._started or self.held.by_caller)
            and not any(group.far or group.fetching for group in self._groups.values())
        )

    def take(self) -> Item | None:
        """The first call, which counts as started from now on; None: there is none."""
        try:
            # This comes first: a call must be in one place or the other at every moment.
            first = self.waiting[0]
            self._started[first.call.tid] = False
            item = self.waiting.popleft()
        except IndexError:
            return None
        if item is not first:  # cancelled at this very moment
            self._started.pop(first.call.tid, None)
            self._started[item.call.tid] = False
        return item

    # -- details -----------------------------------------------------------------------------------
    def _admit(self, items: list[Item]) -> None:
        """Start the calls whose arguments are here, have those of the others fetched."""
        if len(self._groups) == 1 and not any(item.call.deps for item in items):
            self._start("", items)  # the usual case: a third of the time of what follows
            return
        ready: dict[str, list[Item]] = {}
        for item in items:
            call = item.call
            name = call.group if call.group in self._groups else ""
            if not call.deps or not has_far(call):
                ready.setdefault(name, []).append(item)
            elif is_again(call):
                self._fetch(name, item)  # others may be waiting for what it makes
            else:
                self._groups[name].far.append(item)
        for name, found in ready.items():
            self._start(name, found)
        for name in self._groups:
            self._fetch_more(name)

    def _start(self, name: str, items: list[Item]) -> None:
        assert self._lanes is not None
        self._started.update((item.call.tid, False) for item in items)
        self._lanes.start(name, items)

    def _fetch_more(self, name: str) -> None:
        group = self._groups[name]
        while group.far and len(group.fetching) < group.fetching_max:
            self._fetch(name, group.far.popleft())

    def _fetch(self, name: str, item: Item) -> None:
        oids = list(dict.fromkeys(self._store.named_in(item.call.deps)))
        tickets = Tickets(oids, lambda: self._arrived(name, item.call.tid))
        self._groups[name].fetching[item.call.tid] = item, tickets
        self._store.bring(tickets)

    def _arrived(self, name: str, tid: ObjectId) -> None:
        """The arguments of a call are here, or it is known which are unavailable."""
        found = self._groups[name].fetching.pop(tid, None)
        if found is None:
            return
        item, tickets = found
        item.views = tickets.values()
        self._start(name, [item])
        self._fetch_more(name)

    def _forget_waiting(self, tid: ObjectId) -> bool:
        for item in list(self.waiting):
            if item.call.tid == tid:
                try:
                    self.waiting.remove(item)
                except ValueError:  # started at this very moment
                    return False
                return True
        return False

    def _forget_far(self, tid: ObjectId) -> bool:
        for name, group in self._groups.items():
            if tid in group.fetching:
                _, tickets = group.fetching.pop(tid)
                self._store.cancel(tickets.oids, tickets.promises)
                self._fetch_more(name)
                return True
            for item in group.far:
                if item.call.tid == tid:
                    group.far.remove(item)
                    return True
        return False
