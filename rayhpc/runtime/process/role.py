"""What a process does beside taking part in a cluster: a worker runs tasks, a driver nothing more.

`Core` has one and asks it where the two differ: `driver.Driver` or `worker.Worker`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rayhpc.runtime.process.garbage import collect_apart
from rayhpc.runtime.process.interrupts import inside
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import actors

Handlers = dict[type, Callable[[Address, Any], None]]


class Waiter(Protocol):
    """What serves the process while user code waits (`loop.Loop`)."""

    def wait_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Serve until `done()`; False if the time (seconds) is over first."""

    def close(self) -> None:
        """End."""


class Role:
    """That of a process whose user's program runs by itself.

    Args:
        loop: what serves the process.
    """

    is_worker = False

    def __init__(self, loop: Waiter) -> None:
        self._waiter = loop

    def handlers(self) -> Handlers:
        """What is done with the messages that only this role gets."""
        return {}

    def advance(self) -> None:
        """Do what has been left to the leading thread."""

    def next_deadline(self) -> float | None:
        """When `advance` is to be called without an event; None: not before one."""
        return None

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Processes that this one watched have ended (leading thread)."""

    def collect_garbage(self) -> None:
        """Have the garbage collector look for references (leading thread)."""
        collect_apart()

    def on_shutdown(self, reason: str) -> None:
        """The cluster ends (leading thread)."""

    def answer(self, question: Any) -> list[Any] | None:
        """The rows a question asks for; None: this role has nothing to say to it."""
        return None

    def wait_blocking(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait in user code at most `timeout` seconds; an interrupt ends the wait."""
        self._waiter.wait_until(lambda: done() or inside.asked(), timeout)
        return done()

    def construct(self) -> actors.Construct | None:
        """The order by which this process is an actor; None: it is none."""
        return None

    def title(self) -> str:
        """How the actor that this process is shows itself; empty: by its class's name, or none."""
        return ""

    def is_cancelled(self, tid: ObjectId) -> bool:
        """Whether the task or call that runs was cancelled."""
        return False

    def close(self) -> None:
        """Leave the cluster."""
        self._waiter.close()
