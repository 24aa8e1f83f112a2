"""Threads of simulated processes: real ones, of which one runs at a time, until it waits.

Used by `process` (a process's threads, and what it has instead of sockets) and `worker`.  The
runtime's own code runs in them, blocking calls included: where a real process polls its sockets, a
simulated thread hands over to the world, which goes on with it when what it waits for is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from rayhpc.runtime.process.interrupts import inside
from rayhpc.wire.address import Address, NodeNumber, node_of, process_of
from rayhpc.wire.direct_links import DirectLinks
from rayhpc.wire.transport import LINKS_MAX
from rayhpc.wire.windows import Windows

from .direct import SimDirect

if TYPE_CHECKING:
    from .process import SimProcess

Done = Callable[[], bool]
Routine = Generator[Done, None, Any]

_threads = threading.local()


class Killed(BaseException):
    """The process of this thread is dead: nothing of it goes on."""


class SimThread:
    """A thread of a simulated process.

    Args:
        process: whose it is.
        run: what it does.

    Attributes:
        is_busy: it runs user code, which nobody serves the process during.
        interrupted: it is to be interrupted.
        has_ended: it is over.
    """

    def __init__(self, process: SimProcess, run: Callable[[], Any]) -> None:
        self.is_busy = False
        self.interrupted = False
        self.has_ended = False
        self._process = process
        self._done: Done = _at_once
        self._error: BaseException | None = None
        self._mine, self._worlds = threading.Lock(), threading.Lock()
        self._mine.acquire()
        self._worlds.acquire()
        threading.Thread(target=self._main, args=([run],), daemon=True).start()

    @staticmethod
    def current() -> SimThread:
        """The calling thread."""
        thread: SimThread = _threads.current
        return thread

    def wants_to_go_on(self) -> bool:
        """Whether what it waits for is there; asked in the world's thread in its name."""
        _threads.current = self
        return self._done()

    def go_on(self) -> None:
        """Let it run until it waits again or ends (the world's thread, in the process's turn)."""
        self._done = _never
        self._mine.release()
        self._worlds.acquire()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self, done: Done, is_busy: bool = False) -> None:
        """Hand over until `done()` (in this thread)."""
        self._done, self.is_busy = done, is_busy
        self._worlds.release()
        self._mine.acquire()
        self.is_busy = False
        if not self._process.alive:
            raise Killed

    def sleep(self, seconds: float) -> None:
        """Run user code for some time; an interrupt is raised in it."""
        over = self._process.timer(seconds)
        self.wait(lambda: over() or self.interrupted, is_busy=True)
        self.raise_if_interrupted()

    def raise_if_interrupted(self) -> None:
        """In user code: what the thread was interrupted for."""
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt

    def _main(self, runs: list[Callable[[], Any]]) -> None:
        self._mine.acquire()
        _threads.current = self
        inside.thread.depth = 0
        try:
            if self._process.alive:
                runs.pop()()
        except Killed:
            pass
        except BaseException as error:
            self._error = error
        runs.clear()
        self.has_ended = True
        self._worlds.release()


class SimSockets:
    """What a simulated process has instead of sockets and the hand-over between its threads.

    Args:
        process: the process.
        address: its address.
    """

    def __init__(self, process: SimProcess, address: Address) -> None:
        self.transport = self
        self.handover = self
        direct = SimDirect(process, address)
        self.links = direct.links = DirectLinks(address, process.transmit, direct, LINKS_MAX)
        self.links.deliver = process.deliver
        self.windows = Windows(address, self._transmit, process.world.window)
        self._process = process
        self._node = node_of(address)

    # -- as `wire.transport.Transport` ------------------------------------------------------------
    def send(self, destination: Address, message: Any) -> None:
        """Send a message, as far as there is room."""
        self.windows.send(destination, message)

    def forget(self, address: Address) -> None:
        """Somebody has ended."""
        self.windows.forget(address)
        self.links.forget(address)

    def forget_node(self, node: NodeNumber) -> None:
        """Everybody on a node has ended."""
        self.windows.forget_node(node)
        self.links.forget_node(node)

    def _transmit(self, destination: Address, frame: bytes) -> bool:
        if node_of(destination) == self._node or not process_of(destination):
            return self._process.transmit(destination, frame)
        return self._process.alive and self.links.send(destination, frame)

    # -- as `wire.handover.Handover` --------------------------------------------------------------
    def lead(self) -> SimSockets:
        """One thread runs at a time, and it leads."""
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, done: Done, pump: Any, timeout: float | None) -> bool:
        """Hand over until `done()`; False if the time was over first."""
        over = _never if timeout is None else self._process.timer(timeout)
        if not done():
            SimThread.current().wait(lambda: done() or over())
        return done()

    def wake_waiters(self) -> None:
        """The world asks every thread that waits anyway."""

    def wake_leader(self) -> None:
        """The world serves the process anyway."""

    def background_waits(self) -> bool:
        """What is submitted goes out when the thread waits, or when the world serves."""
        return False


def drive(routine: Routine) -> Any:
    """Run a routine, a generator of conditions to wait for, in the calling thread."""
    while True:
        try:
            condition = next(routine)
        except StopIteration as stop:
            return stop.value
        SimThread.current().wait(condition)


def _at_once() -> bool:
    return True


def _never() -> bool:
    return False
