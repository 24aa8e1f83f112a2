"""Which actor call runs next while the first one waits for arguments from a store.

Used by `actor`, where calls run one after another, and by the simulation.  A call that reconstructs
a lost result (`TaskMore.again`) may be what those arguments wait for: it, and no other, may go
first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

from rayhpc.runtime.values.store_client import Promise, StoreClient
from rayhpc.wire.address import ObjectId
from rayhpc.wire.messages import tasks

Item = TypeVar("Item")


def is_again(call: tasks.Call) -> bool:
    """Whether a call reconstructs what was lost."""
    return call.more is not None and call.more.again


def has_far(call: tasks.Call) -> bool:
    """Whether arguments of a call must come from a store."""
    for dep in call.deps:  # noqa: SIM110 - a generator takes 0.3 µs, of every call with a reference
        if dep.value is None:
            return True
    return False


class FirstReady(Generic[Item]):
    """Takes from a queue the first call that may run and has its arguments on this node.

    What it has brought here stays pinned until it is dropped.

    Args:
        store: this process's side of the store.
        queue: the calls; others may add to and take from it at the same time.
        call_of: the call in an item of the queue.
    """

    def __init__(
        self, store: StoreClient, queue: deque[Item], call_of: Callable[[Item], tasks.Call]
    ) -> None:
        self._store = store
        self._queue = queue
        self._call_of = call_of
        self._wanted: dict[ObjectId, tuple[list[ObjectId], list[Promise]]] = {}
        self._everywhere = False
        self._seen: tuple[Item | None, Item | None] = (None, None)

    def look(self, everywhere: bool) -> Item | None:
        """Take the call to run; None: every call that may run is waiting (leading thread).

        `everywhere`: search the whole queue, which takes time, not only its first call.
        """
        self._everywhere = everywhere
        self._seen = self._ends()
        for i, item in enumerate(list(self._queue if everywhere else islice(self._queue, 1))):
            call = self._call_of(item)
            if (i == 0 or is_again(call)) and self._has_arguments(call):
                self._queue.remove(item)
                return item
        return None

    def take_first(self) -> Item | None:
        """Take the first call found by `look`, if it is still first and can run (any thread)."""
        try:
            item = self._queue.popleft()
        except IndexError:
            return None
        if item is self._seen[0] and _are_filled(self._wanted[self._call_of(item).tid][1]):
            return item
        self._queue.appendleft(item)
        return None

    def has_news(self) -> bool:
        """Whether looking again may help."""
        first, last = self._ends()
        if first is not self._seen[0] or (self._everywhere and last is not self._seen[1]):
            return True
        return any(_are_filled(promises) for _, promises in self._wanted.values())

    def close(self) -> None:
        """Stop waiting (leading thread)."""
        for oids, promises in self._wanted.values():
            self._store.cancel(oids, promises)

    def _ends(self) -> tuple[Item | None, Item | None]:
        try:
            return self._queue[0], self._queue[-1]
        except IndexError:
            return None, None

    def _has_arguments(self, call: tasks.Call) -> bool:
        if call.tid not in self._wanted:
            self._wanted[call.tid] = self._fetch(call)
        return _are_filled(self._wanted[call.tid][1])

    def _fetch(self, call: tasks.Call) -> tuple[list[ObjectId], list[Promise]]:
        oids = self._store.named_in(call.deps)
        promises = [Promise() for _ in oids]
        missing = []
        for oid, promise in zip(oids, promises, strict=True):
            promise.value = self._store.view(oid)
            if promise.value is None:
                missing.append((oid, promise))
        if missing:
            self._store.fetch([oid for oid, _ in missing], [promise for _, promise in missing])
        return oids, promises


def _are_filled(promises: list[Promise]) -> bool:
    return all(promise.value is not None for promise in promises)
