"""Threads for the calls of a threaded actor: each concurrency group has its own.

Created by `threads`; `actor_calls` passes it calls whose arguments are ready.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.actor_calls import Item
from rayhpc.runtime.worker.host import Host
from rayhpc.wire.address import ObjectId


class _Lane:
    """The threads of one concurrency group, created when first needed."""

    def __init__(self, host: Host, name: str, limit: int) -> None:
        self.waiting: deque[Item] = deque()
        self._host = host
        self._name = name
        self._limit = limit
        self._threads = 0
        self._idle = threading.Semaphore(0)
        # One for each item of `waiting`, and for each that was taken back.
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self, items: list[Item]) -> None:
        """Run these in this order (leading thread)."""
        self.waiting.extend(items)
        for _ in items:
            if not self._idle.acquire(blocking=False) and self._threads < self._limit:
                self._threads += 1
                name = f"rayhpc-{self._name or 'calls'}-{self._threads}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
            self._signals.put(None)

    def _serve(self) -> None:
        inside.thread.depth = 1
        while True:
            self._signals.get()
            try:
                item = self.waiting.popleft()
            except IndexError:  # cancelled
                item = None
            if item is not None:
                self._run(item)
                item = None
            self._idle.release()

    def _run(self, item: Item) -> None:
        if self._host.hold_back(item):
            return
        outcome: execution.Outcome | None = None
        try:
            outcome = self._host.run(item)
        finally:
            self._host.end_call(item.caller, item.call.tid, outcome)


class ThreadLanes:
    """The threads of an actor.

    Args:
        host: the actor.
    """

    def __init__(self, host: Host) -> None:
        limits = {"": host.spec.max_concurrency, **host.spec.groups}
        self._lanes = {name: _Lane(host, name, limit) for name, limit in limits.items()}

    def constructor(self, cls: Any) -> Callable[..., Any]:
        """What creates the instance: the class, in the main thread."""
        made: Callable[..., Any] = cls
        return made

    def start(self, group: str, items: list[Item]) -> None:
        """Run calls of a concurrency group, in this order, as soon as it has room."""
        self._lanes[group].start(items)

    def cancel(self, tid: ObjectId) -> bool:
        """Take back a call that has not started; False: it runs, or has ended."""
        for lane in self._lanes.values():
            for item in list(lane.waiting):
                if item.call.tid == tid:
                    try:
                        lane.waiting.remove(item)
                    except ValueError:  # started at this very moment
                        return False
                    return True
        return False

    def queued(self) -> list[Item]:
        """The calls that have not started."""
        return [item for lane in self._lanes.values() for item in list(lane.waiting)]

    def clear(self) -> None:
        """Drop what has not started."""
        for lane in self._lanes.values():
            lane.waiting.clear()
