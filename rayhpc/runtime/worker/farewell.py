"""The last step of a worker: it waits until everything it has sent has been read.

Used by `worker`, also in the simulation.  The news of a process's end takes another path than its
last messages, and may overtake them: then its raylet mistakes an actor that failed, or left, for
one that crashed, and callers treat answered calls as lost.  So a worker that exits gracefully asks
its raylet, and everyone it has just answered, to confirm that they have read everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rayhpc.runtime.process.core import Core
from rayhpc.wire.address import Address
from rayhpc.wire.messages.windows import Flush, Flushed

# A raylet reads all the time; a process may be busy, or have ended unnoticed.
RAYLET_WITHIN_S = 5.0
OTHERS_WITHIN_S = 1.0


class Farewell:
    """Tracks who has read everything that this process has sent.

    Args:
        core: the process's tables.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: set[Address] = set()

    def begin(self, receivers: Iterable[Address]) -> None:
        """Ask the raylet and these (leading thread)."""
        self._waiting = {self._core.raylet, *receivers}
        for receiver in sorted(self._waiting):
            self._core.send_now(receiver, Flush())

    def on_flushed(self, source: Address, message: Flushed) -> None:
        """One of them has read everything."""
        self._waiting.discard(source)

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """These will never answer."""
        self._waiting = {x for x in self._waiting if not is_gone(x)}

    def is_over(self) -> bool:
        """Whether all have answered."""
        return not self._waiting

    def is_read_by_raylet(self) -> bool:
        """Whether the raylet has answered."""
        return self._core.raylet not in self._waiting
