"""What every part of the object manager is given: who we are, clock, timers, ways to send.

Made by `manager`.  Holds no object.  A message to our own raylet is looped back and handled when
the current one is done, so that no part is entered twice.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from rayhpc.wire.address import Address, NodeNumber, raylet_of

Send = Callable[[Address, msgspec.Struct], None]
T = TypeVar("T")


class Executor(Protocol):
    """Does slow work apart from the raylet's loop (`background.Background`, or a simulation's)."""

    @property
    def busy(self) -> int:
        """How much work was submitted and is not finished."""

    def submit(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run `work` somewhere (it must not raise), then `done` with its result in `run_done`."""

    def tell(self, action: Callable[[], None]) -> None:
        """Call `action` in `run_done` (any thread)."""

    def run_done(self) -> None:
        """Call `done` for all finished work, and the actions given to `tell`."""

    def close(self) -> None:
        """Stop, waiting for running work."""


class Timers:
    """Actions to run later.

    Args:
        now: the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` after this delay; it must check for itself whether it is still wanted."""
        heapq.heappush(self._heap, (self._now() + seconds, next(self._numbers), action))

    def deadline(self) -> float | None:
        """When the next action is due."""
        return self._heap[0][0] if self._heap else None

    def run(self) -> None:
        """Run the actions that are due."""
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()


class StoreContext:
    """One node, as the parts of its object manager see it."""

    def __init__(
        self,
        node: NodeNumber,
        send: Send,
        now: Callable[[], float],
        random: random.Random,
        executor: Executor,
    ) -> None:
        self.node = node
        self.me = raylet_of(node)
        self.send = send
        self.now = now
        self.random = random
        self.executor = executor
        self.timers = Timers(now)
        self.looped: deque[msgspec.Struct] = deque()
        # Processes of this node, and nodes, that have ended: addresses are never reused.
        self.dead: set[Address] = set()
        self.gone_nodes: set[NodeNumber] = set()
        self._editions = itertools.count(node << 32 | 1)

    def new_edition(self) -> int:
        """A number for what a process has written: copies of one edition are byte for byte equal.

        A reconstructed object is another edition, even if it has the same id and size.
        """
        return next(self._editions)

    def post(self, node: NodeNumber, message: msgspec.Struct) -> None:
        """Send a message to the raylet of a node, which may be this one."""
        if node == self.node:
            self.looped.append(message)
        elif node not in self.gone_nodes:
            self.send(raylet_of(node), message)
