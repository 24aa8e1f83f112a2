"""Generators at the worker that runs them: each item goes to the owner as it is yielded.

Used by `worker` (tasks) and `actor` (methods).  The owner's half is `streams.py`.  With a
window the producer waits until items have been taken.  A generator whose reader has gone runs to
its end, as in Ray: what it does besides yielding may matter to somebody.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec

from rayhpc.runtime.process.context import running
from rayhpc.runtime.process.interrupts import outside
from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.parts import WorkerParts
from rayhpc.wire.address import Address, ObjectId, sibling
from rayhpc.wire.messages import tasks

logger = logging.getLogger("rayhpc")

DROPPED = -1


class Producers:
    """The generator tasks that run in this worker.

    Args:
        worker: the process they run in.
    """

    def __init__(self, worker: WorkerParts) -> None:
        self._worker = worker
        self._taken: dict[ObjectId, int] = {}
        self._owners: dict[ObjectId, Address] = {}
        # What to call when there is news for an asynchronous one.
        self._wakers: dict[ObjectId, Callable[[], object]] = {}
        # The names of those about which the user was told that nobody reads them.
        self._said: set[str] = set()

    def on_taken(self, message: tasks.StreamTaken) -> None:
        """The owner has taken items, or dropped the generator (leading thread)."""
        if message.tid in self._taken:
            self._taken[message.tid] = message.count
            self._wake(message.tid)

    def on_owners_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Nobody will take the items of these processes' generators any more (leading thread)."""
        for tid in [tid for tid, owner in self._owners.items() if is_gone(owner)]:
            self._taken[tid] = DROPPED
            self._wake(tid)

    def _wake(self, tid: ObjectId) -> None:
        wake = self._wakers.get(tid)
        if wake is not None:
            wake()

    def _begin(self, owner: Address, tid: ObjectId) -> None:
        self._taken[tid] = 0
        # A leased worker ends with its submitter; an actor outlives its callers.
        if self._worker.actor is not None:
            process = self._worker.process
            self._owners[tid] = owner
            with process.loop.lead():
                process.core.ownership.watch(owner)

    def _end(self, tid: ObjectId) -> None:
        self._owners.pop(tid, None)
        self._wakers.pop(tid, None)
        del self._taken[tid]

    def run(
        self, owner: Address, task: execution.Runnable, values: Any, start: float
    ) -> execution.Outcome:
        """Send every item of `values`; the outcome is how many there were.

        Raises:
            TypeError: the user's code returned something that cannot be iterated, or with
                num_returns="dynamic" something else than a generator.
        """
        items = _items(task, values)
        self._begin(owner, task.tid)
        count = 0
        try:
            for value in execution.iterated(items):
                self._send_item(owner, task, count, value)
                count += 1
                self._wait_for_room(task, count)
        except Exception as error:
            raise _raised_after(count, error) from error
        finally:
            self._end(task.tid)
        return self._ended(task, count, start)

    async def run_async(
        self, owner: Address, task: execution.Runnable, items: AsyncIterator[Any], start: float
    ) -> execution.Outcome:
        """`run` for an asynchronous generator, in the actor's event loop."""
        import asyncio

        room = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._begin(owner, task.tid)
        self._wakers[task.tid] = lambda: loop.call_soon_threadsafe(room.set)
        count = 0
        try:
            async for value in items:
                self._send_item(owner, task, count, value)
                count += 1
                while self._must_wait(task, count):
                    room.clear()
                    if self._must_wait(task, count):
                        await room.wait()
        except Exception as error:
            raise _raised_after(count, error) from error
        finally:
            self._end(task.tid)
        return self._ended(task, count, start)

    def _send_item(self, owner: Address, task: execution.Runnable, index: int, value: Any) -> None:
        if self._taken[task.tid] == DROPPED:
            self._say_once(task)
            return
        worker = self._worker
        process = worker.process
        oid = sibling(task.tid, index + 1)
        out, refs = execution.pack(process.objects, oid, value, task.attempt)
        inner = [x.binary() for x in refs]
        with process.loop.lead():
            if refs:
                worker.replies.keep(owner, oid, refs)
            message = tasks.StreamItem(task.tid, index, out, inner, task.attempt)
            process.core.send_now(owner, message)

    def _say_once(self, task: execution.Runnable) -> None:
        context = running.get()
        name = context.name if context is not None else "A generator"
        if name in self._said:
            return
        self._said.add(name)
        logger.warning(
            "%s runs on to its end though nobody reads its items any more: its generator was "
            "dropped. cancel(generator) before it is dropped ends it.",
            name,
        )

    def _must_wait(self, task: execution.Runnable, count: int) -> bool:
        # Nobody takes items of a dynamic one before its end.
        if task.more is None or task.returns != tasks.STREAMING:
            return False
        window = task.more.window
        taken = self._taken[task.tid]
        return bool(window) and taken != DROPPED and count - taken >= window

    def _wait_for_room(self, task: execution.Runnable, count: int) -> None:
        """Wait for room in the window."""
        if self._must_wait(task, count):
            self._worker.process.objects.wait(lambda: not self._must_wait(task, count))

    def _ended(self, task: execution.Runnable, count: int, start: float) -> execution.Outcome:
        micros = int((self._worker.process.core.now() - start) * 1e6)
        total = msgspec.msgpack.encode(count)
        return execution.Outcome(tasks.Result(task.tid, tasks.OK, [total], micros))


def _items(task: execution.Runnable, values: Any) -> Iterator[Any]:
    if task.returns == tasks.DYNAMIC and not hasattr(values, "__next__"):
        raise TypeError(
            'A function with num_returns="dynamic" must return a generator, not '
            f"{type(values).__name__}: yield its items."
        )
    with outside:
        return iter(values)


def _raised_after(count: int, error: Exception) -> execution.PartlyFailedError:
    """Tell the owner how many items there were: the last ones may not reach it."""
    made = execution.Made(outs=[msgspec.msgpack.encode(count)])
    return execution.PartlyFailedError(error, made)
