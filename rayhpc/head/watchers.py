"""Who wants to know of what: processes that watch actors and placement groups.

Used by `actors` and `groups`.  Remembers only; telling is theirs.  A thing may be watched before
it exists, since its creator's message may take a longer path than the watcher's; such a watch
runs out after `EARLY_S` seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from rayhpc.wire.address import Address, NodeNumber, node_of

EARLY_S = 10.0


class Watchers:
    """The watchers of one kind of thing.

    Args:
        now: a clock in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._of: dict[bytes, dict[Address, None]] = {}
        self._by_node: dict[NodeNumber, dict[Address, set[bytes]]] = {}
        self._early: deque[tuple[float, bytes]] = deque()
        self._expected: set[bytes] = set()

    def add(self, subject: bytes, watcher: Address) -> None:
        """`watcher` wants to know of `subject`."""
        self._of.setdefault(subject, {})[watcher] = None
        on_node = self._by_node.setdefault(node_of(watcher), {})
        on_node.setdefault(watcher, set()).add(subject)

    def add_early(self, subject: bytes, watcher: Address) -> None:
        """The same for something that is not known yet."""
        self.expect(subject)
        self.add(subject, watcher)

    def expect(self, subject: bytes) -> None:
        """Something that is not known yet should be, soon: `run_out` names it after a while."""
        if subject not in self._expected:
            self._expected.add(subject)
            self._early.append((self._now() + EARLY_S, subject))

    def of(self, subject: bytes) -> list[Address]:
        """Who watches it."""
        return list(self._of.get(subject, ()))

    def run_out(self) -> Iterator[bytes]:
        """The things expected whose time is over (whether known by now or not)."""
        while self._early and self._early[0][0] <= self._now():
            subject = self._early.popleft()[1]
            self._expected.discard(subject)
            yield subject

    def deadline(self) -> float | None:
        """When `run_out` has something."""
        return self._early[0][0] if self._early else None

    def forget(self, subject: bytes) -> None:
        """There will be nothing more to tell of it."""
        for watcher in self._of.pop(subject, ()):
            self._by_node[node_of(watcher)][watcher].discard(subject)

    def process_gone(self, watcher: Address) -> None:
        """A process has ended."""
        on_node = self._by_node.get(node_of(watcher))
        if on_node is not None:
            self._drop(watcher, on_node.pop(watcher, set()))

    def node_gone(self, number: NodeNumber) -> None:
        """Every process of a node has ended."""
        for watcher, subjects in self._by_node.pop(number, {}).items():
            self._drop(watcher, subjects)

    def _drop(self, watcher: Address, subjects: set[bytes]) -> None:
        for subject in subjects:
            watchers = self._of[subject]
            del watchers[watcher]
            if not watchers:
                del self._of[subject]
