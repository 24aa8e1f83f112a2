"""What a task or constructor holds is lent while an argument of it is still to be made.

Used by `node`, for leases and actors alike.  As in Ray, arguments come before resources: what makes
an argument may need just what waits for it holds.  Once the arguments are there their holder waits
for the same amounts, maybe of other devices, since its user code has not started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from rayhpc.raylet.dispatch import Dispatch, ResourceRequest
from rayhpc.raylet.resources import Allocation
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import leases

# How long to wait for what was lent; then the task or actor is placed again.
BACK_WITHIN_S = 2.0


class ArgumentLoans:
    """The loans of one node, each noted in its allocation.

    Args:
        dispatch: the queue for resources.
        send: sends a message.
        now: the time in seconds, monotonic.
        allocation_of: what a worker's lease or actor holds, by its number; None: there is none.
        is_to_be_made: whether one of these objects lies nowhere yet, or no more.
        place_again: has the actor with this lease started anew; False: it is a task's lease.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
        allocation_of: Callable[[Address, int], Allocation | None],
        is_to_be_made: Callable[[Iterable[ObjectId]], bool],
        place_again: Callable[[int], bool],
    ) -> None:
        self._dispatch = dispatch
        self._send = send
        self._now = now
        self._allocation_of = allocation_of
        self._is_to_be_made = is_to_be_made
        self._place_again = place_again

    def on_missing(self, worker: Address, message: leases.ArgumentsMissing) -> None:
        """Arguments are not there: lend everything if one of them is still to be made."""
        allocation = self._allocation_of(worker, message.lease)
        if allocation is None or allocation.loan or not self._is_to_be_made(message.oids):
            return
        allocation.loan = dict(allocation.resources)
        allocation.pool.give_back(allocation)
        self._dispatch.is_dirty = True

    def on_here(self, worker: Address, message: leases.ArgumentsHere) -> None:
        """The arguments are there: the worker soon gets back what was lent, or hears that not."""
        lease = message.lease
        allocation = self._allocation_of(worker, lease)
        if allocation is None:
            return
        if not allocation.loan:
            self._send(worker, leases.MayStart(lease, allocation.devices()))
            return
        now = self._now()
        request = ResourceRequest(
            ("lent", lease),
            allocation.loan,
            lambda: [allocation.pool],
            lambda new: self._give(worker, lease, new),
            now,
            now + BACK_WITHIN_S,
            lambda: self._refuse(worker, lease),
        )
        self._dispatch.add(request)
        self._dispatch.run()

    def _give(self, worker: Address, lease: int, new: Allocation) -> None:
        allocation = self._allocation_of(worker, lease)
        if allocation is None:  # it has ended meanwhile
            new.pool.give_back(new)
            self._dispatch.is_dirty = True
            return
        allocation.resources, allocation.shares, allocation.loan = new.resources, new.shares, {}
        self._send(worker, leases.MayStart(lease, allocation.devices()))

    def _refuse(self, worker: Address, lease: int) -> None:
        if self._allocation_of(worker, lease) is not None and not self._place_again(lease):
            self._send(worker, leases.MayStart(lease, {}, granted=False))
