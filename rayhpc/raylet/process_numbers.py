"""Numbers for the processes of a node, never used twice; an observer's say that it is one.

Used by `node`.
"""

from __future__ import annotations

import itertools

from rayhpc.wire.address import FIRST_OBSERVER


class ProcessNumbers:
    """The numbers of one node's processes."""

    def __init__(self) -> None:
        self._processes = itertools.count(1)
        self._observers = itertools.count(FIRST_OBSERVER)

    def next(self, role: str = "") -> int:
        """A new number for a worker, or for a process that attaches in this role."""
        return next(self._observers if role == "observer" else self._processes)
