"""Lends a worker's CPUs to others as long as any of its threads waits.

Used by `worker` in the leading thread, also in the simulation.  A count, not a flag: if two threads
wait at the same time, the first to continue must not take the CPUs from the other's children.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.wire.address import Address
from rayhpc.wire.messages import leases


class CpuLoan:
    """Tells the raylet when the worker's CPUs are free, and when they are needed again.

    Args:
        raylet: the worker's raylet.
        send: sends a message.
    """

    def __init__(self, raylet: Address, send: Callable[[Address, msgspec.Struct], None]) -> None:
        self._raylet = raylet
        self._send = send
        # The number of waiting threads per lease.
        self._waiting: dict[int, int] = {}

    def begin(self, lease: int) -> bool:
        """A thread waits; True: it is the first, and the CPUs are lent from now on."""
        count = self._waiting[lease] = self._waiting.get(lease, 0) + 1
        if count == 1:
            self._send(self._raylet, leases.Blocked(lease))
        return count == 1

    def end(self, lease: int) -> bool:
        """A thread continues; True: none waits any more, and the CPUs are in use again."""
        count = self._waiting[lease] = self._waiting[lease] - 1
        if count == 0:
            del self._waiting[lease]
            self._send(self._raylet, leases.Unblocked(lease))
        return count == 0
