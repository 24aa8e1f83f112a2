"""What a simulated worker is handed: a slot, threads, an environment and user code.

Made by `node`.  The worker itself is `rayhpc.runtime.worker.worker.Worker`, with all its parts.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.actor import ActorHost
from rayhpc.runtime.worker.actor_calls import Item, Lanes
from rayhpc.runtime.worker.job_environment import JobEnvironment
from rayhpc.runtime.worker.title import Title
from rayhpc.runtime.worker.worker import Worker
from rayhpc.wire.address import ObjectId
from rayhpc.wire.messages.common import Grant

from . import programs
from .process import SimProcess
from .threads import SimThread


class SimSlot:
    """What the raylet reads after a worker's death; the dead write nothing."""

    def __init__(self) -> None:
        self.started = b""
        self.unsent: list[bytes] = []
        self.on_start: Callable[[ObjectId], None] = lambda tid: None
        self.is_open = True

    def note_start(self, tid: ObjectId) -> None:
        """A task or call starts."""
        if self.is_open:
            self.started = tid
            self.on_start(tid)

    def journal_append(self, result: bytes) -> bool:
        """A result waits to be sent."""
        if self.is_open:
            self.unsent = [*self.unsent, result]
        return True

    def journal_clear(self) -> None:
        """The results have been sent."""
        if self.is_open:
            self.unsent = []


class SimEnvironment(JobEnvironment):
    """Jobs change nothing in the process that simulates them all."""

    def enter(self, grant: Grant) -> None:
        """Be what the grant says."""
        self._grant = grant


class SimThreads:
    """The threads of a simulated worker.

    Args:
        process: the worker's process.
        end: ends it.
    """

    def __init__(self, process: SimWorker, end: Callable[[], None]) -> None:
        self.pid = process.core.me & 0xFFFFFFFF
        self.end_process = end
        self.title = Title(lambda text: None)
        self._process = process

    def is_main(self) -> bool:
        """Whether the calling thread is the main one."""
        return SimThread.current() is self._process.main

    def interrupt_main(self) -> None:
        """Have the main thread interrupted, if it is in user code, or else when it enters it."""
        self._process.main.interrupted = True

    def forget_interrupt(self) -> None:
        """What the main thread was interrupted for has ended."""
        self._process.main.interrupted = False

    def asked(self) -> bool:
        """Whether the calling thread is to be interrupted."""
        return SimThread.current().interrupted

    def collect_garbage(self) -> None:
        """Nothing here waits for the garbage collector."""

    def run_exit_handlers(self) -> None:
        """No simulated program registers any."""

    def lanes(self, host: ActorHost) -> Lanes | None:
        """Threads, for actors whose calls run beside each other."""
        is_concurrent = host.spec.is_async or host.spec.max_concurrency > 1 or host.spec.groups
        return SimLanes(self._process, host) if is_concurrent else None


class SimLanes:
    """Threads for calls that run beside each other; those of an async actor are interrupted."""

    def __init__(self, process: SimWorker, host: ActorHost) -> None:
        self._process = process
        self._host = host
        self._limits = {"": host.spec.max_concurrency, **host.spec.groups}
        self._waiting: dict[str, deque[Item]] = {name: deque() for name in self._limits}
        self._count = dict.fromkeys(self._limits, 0)
        self._running: dict[ObjectId, SimThread] = {}

    def constructor(self, cls: Any) -> Callable[..., Any]:
        """The class."""
        made: Callable[..., Any] = cls
        return made

    def start(self, group: str, items: list[Item]) -> None:
        """Run calls of a concurrency group as soon as it has room."""
        self._waiting[group].extend(items)
        while self._waiting[group] and self._count[group] < self._limits[group]:
            self._count[group] += 1
            # Not here: the leading thread goes on first.
            serve = functools.partial(self._serve, group)
            self._process.world.after(0.0, functools.partial(self._process.start, serve))

    def cancel(self, tid: ObjectId) -> bool:
        """Cancel a call."""
        for waiting in self._waiting.values():
            for item in list(waiting):
                if item.call.tid == tid:
                    waiting.remove(item)
                    return True
        if self._host.spec.is_async and tid in self._running:
            self._running[tid].interrupted = True
        return False

    def queued(self) -> list[Item]:
        """The calls that have not started."""
        return [item for waiting in self._waiting.values() for item in waiting]

    def clear(self) -> None:
        """Forget what has not started."""
        for waiting in self._waiting.values():
            waiting.clear()

    def _serve(self, group: str) -> None:
        while self._waiting[group]:
            item = self._waiting[group].popleft()
            tid = item.call.tid
            if self._host.hold_back(item):
                continue
            self._running[tid] = SimThread.current()
            outcome: execution.Outcome | None = None
            try:
                outcome = self._host.run(item)
            finally:
                del self._running[tid]
                self._host.end_call(item.caller, tid, outcome)
            item = outcome = None  # type: ignore[assignment]
        self._count[group] -= 1


class SimWorker(SimProcess):
    """The process of one simulated worker.

    Args:
        args: as of `SimProcess`.
        slot: what outlives it.
        ended: called when it has left.
    """

    def __init__(self, *args: Any, slot: SimSlot, ended: Callable[[SimWorker], None]) -> None:
        super().__init__(*args)
        self.state: dict[str, Any] = {}
        self.slot = slot
        slot.on_start = self._started
        self._ended = ended
        with self.turn():
            self.worker = Worker(
                self,
                slot,
                SimThreads(self, self.leave),
                SimEnvironment(""),
                load=functools.partial(programs.load, self),
            )
            self.main = SimThread(self, self._run)
            self.threads.append(self.main)
            self.settle()

    @property
    def actor(self) -> ActorHost | None:
        """The actor that it is."""
        return self.worker.actor

    def leave(self) -> None:
        """Exit."""
        self.world.after(0.0, lambda: self.alive and self._ended(self))

    def end(self) -> None:
        """Be dead from now on."""
        self.slot.is_open = False
        super().end()
        with self.turn():
            self.state.clear()

    def _run(self) -> None:
        self.worker.run()
        self.leave()

    def _started(self, tid: ObjectId) -> None:
        self.world.ran.append((self.core.me, tid, 0))
