"""What a process does in addition: a worker runs tasks, a driver does nothing more.

`Core` has one and asks it where the two differ: `driver.Driver` or `worker.Worker`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from rayhpc.runtime.process.garbage import collect_apart
from rayhpc.runtime.process.interrupts import inside
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import actors

Handlers = dict[type, Callable[[Address, Any], None]]


class Waiter(Protocol):
    """Serves the process while user code waits (`loop.Loop`)."""

    def wait_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Serve until `done()`; False after `timeout` seconds."""

    def close(self) -> None:
        """End."""


class Role:
    """The role of a process that only runs its own user's program.

    Args:
        loop: serves the process.
    """

    is_worker = False

    def __init__(self, loop: Waiter) -> None:
        self._waiter = loop

    def handlers(self) -> Handlers:
        """The handlers for messages that only this role gets."""
        return {}

    def advance(self) -> None:
        """Do what was deferred to the leading thread."""

    def next_deadline(self) -> float | None:
        """When `advance` must be called without an event; None: not before one."""
        return None

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Processes that this one watched have ended (leading thread)."""

    def collect_garbage(self) -> None:
        """Have the garbage collector look for references (leading thread)."""
        collect_apart()

    def on_shutdown(self, reason: str) -> None:
        """The cluster ends (leading thread)."""

    def answer(self, question: Any) -> list[Any] | None:
        """The rows a question asks for; None: this role has no answer."""
        return None

    def wait_blocking(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait in user code for at most `timeout` seconds; an interrupt ends the wait."""
        inside.take_handlers()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._waiter.wait_until(lambda: done() or inside.asked(), timeout)
            if done() or not inside.may_wait_on():
                return done()
            if deadline is not None:
                timeout = max(0.0, deadline - time.monotonic())

    def construct(self) -> actors.Construct | None:
        """The order that made this process an actor; None: it is not one."""
        return None

    def title(self) -> str:
        """The repr of this process's actor; empty: named after its class, or not an actor."""
        return ""

    def is_cancelled(self, tid: ObjectId) -> bool:
        """Whether the running task or call was cancelled."""
        return False

    def close(self) -> None:
        """Leave the cluster."""
        self._waiter.close()
