"""The event loops of an asynchronous actor: one per concurrency group, each in its own thread.

Created by `threads`; `actor_calls` passes it calls whose arguments are ready.  The constructor runs
on the loop for calls without a group, so that what it creates (tasks, locks) belongs there.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.actor_calls import Item
from rayhpc.runtime.worker.host import Host
from rayhpc.wire.address import ObjectId


class _Lane:
    """One event loop, and the calls on it."""

    def __init__(self, host: Host, name: str, limit: int) -> None:
        self.loop = asyncio.new_event_loop()
        self._host = host
        # How many more may run.  Not a semaphore, which takes 2 µs of every call.
        self._room = limit
        # The calls must not inherit what the one before them has set.
        self._context = contextvars.copy_context()
        # Whether `_begin_waiting` is due: once for all calls that end in the same turn.
        self._is_due = False
        # Those that run, also read by the leading thread.
        self.running: dict[ObjectId, asyncio.Task[None]] = {}
        # Those of them that the loop has not come to.
        self._unbegun: dict[ObjectId, Item] = {}
        # In order, those for which there is no room yet; read by the leading thread, too.
        self.waiting: OrderedDict[ObjectId, Item] = OrderedDict()
        title = f"rayhpc-{name or 'loop'}"
        threading.Thread(target=self._serve, name=title, daemon=True).start()

    def _serve(self) -> None:
        inside.thread.depth = 1
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    # -- in the loop ------------------------------------------------------------------------------
    def create(self, items: list[Item]) -> None:
        """Start calls, as far as there is room."""
        for item in items:
            if self._room > 0 and not self.waiting:
                self._begin(item)
            else:
                self.waiting[item.call.tid] = item

    def cancel(self, tid: ObjectId) -> None:
        """Cancel a call."""
        task = self.running.get(tid)
        if task is None:
            item = self.waiting.pop(tid, None)
        else:
            task.cancel()
            item = self._unbegun.pop(tid, None)
            if item is not None:  # no line of its coroutine will run
                self._leave(tid)
        if item is not None:
            self._host.end_call(item.caller, tid, execution.cancelled(item.call))

    def _begin(self, item: Item) -> None:
        tid = item.call.tid
        self._unbegun[tid] = item
        self._room -= 1
        self.running[tid] = self.loop.create_task(self._run(item))

    def _begin_waiting(self) -> None:
        self._is_due = False
        while self.waiting and self._room > 0:
            self._begin(self.waiting.popitem(last=False)[1])

    def _leave(self, tid: ObjectId) -> None:
        """A call does not run any more."""
        del self.running[tid]
        self._room += 1
        if self.waiting and not self._is_due:
            self._is_due = True
            self.loop.call_soon(self._begin_waiting, context=self._context)

    async def _run(self, item: Item) -> None:
        outcome: execution.Outcome | None = None
        is_held = False
        del self._unbegun[item.call.tid]
        try:
            is_held = self._host.hold_back(item)
            if not is_held:
                outcome = await self._host.run_async(item)
        except asyncio.CancelledError as error:
            outcome = self._host.interrupted(item.call, error)
        finally:
            self._leave(item.call.tid)
            if not is_held:
                self._host.end_call(item.caller, item.call.tid, outcome)


class LoopLanes:
    """The event loops of an actor.

    Args:
        host: the actor.
    """

    def __init__(self, host: Host) -> None:
        limits = {"": host.spec.max_concurrency, **host.spec.groups}
        self._lanes = {name: _Lane(host, name, limit) for name, limit in limits.items()}

    def constructor(self, cls: Any) -> Callable[..., Any]:
        """What creates the instance: the class, called on the loop; `__init__` may be async."""

        def make(*args: Any, **kwargs: Any) -> Any:
            loop = self._lanes[""].loop
            context = contextvars.copy_context()
            made = context.run(
                asyncio.run_coroutine_threadsafe, _constructed(cls, args, kwargs), loop
            )
            return made.result()

        return make

    def start(self, group: str, items: list[Item]) -> None:
        """Run calls of a concurrency group, in this order, as soon as it has room."""
        lane = self._lanes[group]
        lane.loop.call_soon_threadsafe(lane.create, items)

    def cancel(self, tid: ObjectId) -> bool:
        """Cancel a call; it sends its own answer."""
        for lane in self._lanes.values():
            lane.loop.call_soon_threadsafe(functools.partial(lane.cancel, tid))
        return False

    def queued(self) -> list[Item]:
        """The calls that have not started."""
        return [item for lane in self._lanes.values() for item in list(lane.waiting.values())]

    def clear(self) -> None:
        """The process is ending: its loops end with it."""


async def _constructed(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A new instance."""
    if not inspect.iscoroutinefunction(getattr(cls, "__init__", None)):
        return cls(*args, **kwargs)
    instance = cls.__new__(cls, *args, **kwargs)
    await instance.__init__(*args, **kwargs)
    return instance
