"""`Queue`: a first-in, first-out queue shared by tasks, actors and the driver.

Used by programs.  An asynchronous actor holds the items, so any number of callers can wait at a
time; the interface is that of `queue.Queue`.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any

import rayhpc
from rayhpc.api.objects.timeouts import seconds


class Empty(queue.Empty):
    """There is nothing to take."""


class Full(queue.Full):
    """There is no room."""


class Queue:
    """A queue held by an actor; copies of it in tasks and actors are the same queue.

    Args:
        maxsize: the maximum number of items; 0: unlimited.
        actor_options: options of the actor, as for `remote` (such as a name or resources).
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        options = actor_options or {}
        self.maxsize = maxsize
        self.actor: Any = rayhpc.remote(_QueueActor).options(**options).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """The number of items."""
        return int(rayhpc.get(self.actor.qsize.remote()))

    def qsize(self) -> int:
        """The number of items."""
        return self.size()

    def empty(self) -> bool:
        """Whether the queue is empty."""
        return bool(rayhpc.get(self.actor.empty.remote()))

    def full(self) -> bool:
        """Whether the queue is full."""
        return bool(rayhpc.get(self.actor.full.remote()))

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item.

        Args:
            item: the item.
            block: wait for room.
            timeout: the maximum wait in seconds; None: no limit.

        Raises:
            Full: there was no room (in time).
            ValueError: the timeout is negative.
        """
        if not block:
            self.put_nowait(item)
        elif not rayhpc.get(self.actor.put.remote(item, _checked(timeout))):
            raise Full

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """`put` as a coroutine."""
        done = (
            await self.actor.put.remote(item, _checked(timeout))
            if block
            else await self.actor.put_nowait.remote([item])
        )
        if not done:
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item.

        Args:
            block: wait for one.
            timeout: the maximum wait in seconds; None: no limit.

        Raises:
            Empty: there was none (in time).
            ValueError: the timeout is negative.
        """
        if not block:
            return self.get_nowait()
        return _only(rayhpc.get(self.actor.get.remote(_checked(timeout))))

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """`get` as a coroutine."""
        if block:
            return _only(await self.actor.get.remote(_checked(timeout)))
        return _only(await self.actor.get_nowait.remote(1))

    def put_nowait(self, item: Any) -> None:
        """Add an item if there is room.

        Raises:
            Full: there is none.
        """
        self.put_nowait_batch([item])

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all of these, or none.

        Raises:
            Full: they do not all fit.
            TypeError: not iterable.
        """
        if not isinstance(items, Iterable):
            raise TypeError(f"put_nowait_batch takes an iterable, not a {type(items).__name__}.")
        batch = list(items)
        if not rayhpc.get(self.actor.put_nowait.remote(batch)):
            raise Full(f"Cannot add {len(batch)} item(s) to a queue of size {self.maxsize}.")

    def get_nowait(self) -> Any:
        """Take the oldest item if there is one.

        Raises:
            Empty: there is none.
        """
        return _only(rayhpc.get(self.actor.get_nowait.remote(1)))

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take exactly this many.

        Raises:
            Empty: there are fewer.
            TypeError, ValueError: an invalid number.
        """
        if not isinstance(num_items, int):
            raise TypeError(f"num_items must be an integer, not a {type(num_items).__name__}.")
        if num_items < 0:
            raise ValueError(f"num_items must be at least 0, not {num_items}.")
        items = rayhpc.get(self.actor.get_nowait.remote(num_items))
        if items is None:
            raise Empty(f"There are fewer than {num_items} items.")
        return list(items)

    def shutdown(self, force: bool = False, grace_period_s: float = 5.0) -> None:
        """End the queue's actor; its items are lost.

        Args:
            force: end it at once.
            grace_period_s: otherwise, how long running calls may take.
        """
        if self.actor is None:
            return
        actor, self.actor = self.actor, None
        if not force:
            ended = actor.__ray_terminate__.remote()
            rayhpc.wait([ended], timeout=grace_period_s)
        rayhpc.kill(actor, no_restart=True)


class _QueueActor:
    """The actor."""

    def __init__(self, maxsize: int) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(max(0, maxsize))

    async def qsize(self) -> int:
        return self._queue.qsize()

    async def empty(self) -> bool:
        return self._queue.empty()

    async def full(self) -> bool:
        return self._queue.full()

    async def put(self, item: Any, timeout: float | None) -> bool:
        # A timeout of 0 would end the wait before it has checked.
        if not self._queue.full():
            self._queue.put_nowait(item)
            return True
        try:
            await asyncio.wait_for(self._queue.put(item), timeout)
        except (asyncio.TimeoutError, TimeoutError):
            return False
        return True

    async def get(self, timeout: float | None) -> list[Any] | None:
        if not self._queue.empty():
            return [self._queue.get_nowait()]
        try:
            return [await asyncio.wait_for(self._queue.get(), timeout)]
        except (asyncio.TimeoutError, TimeoutError):
            return None

    async def put_nowait(self, items: list[Any]) -> bool:
        limit = self._queue.maxsize
        if limit and self._queue.qsize() + len(items) > limit:
            return False
        for item in items:
            self._queue.put_nowait(item)
        return True

    async def get_nowait(self, count: int) -> list[Any] | None:
        if self._queue.qsize() < count:
            return None
        return [self._queue.get_nowait() for _ in range(count)]


def _checked(timeout: float | None) -> float | None:
    limit = seconds("timeout", timeout)
    if limit is not None and limit < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return limit


def _only(items: list[Any] | None) -> Any:
    if items is None:
        raise Empty
    return items[0]


__all__ = ["Empty", "Full", "Queue"]
