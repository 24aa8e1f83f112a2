"""Which tasks of a dead worker had started, and which generators are incomplete: pure functions.

Used by `submission` when a raylet reports the death (`docs/explanation/protocol.md`).
"""

from __future__ import annotations

from rayhpc.runtime.owner.class_queue import Lease
from rayhpc.runtime.owner.pending import Pending
from rayhpc.wire.address import ObjectId
from rayhpc.wire.messages import leases, tasks


def begun_of(ours: list[Lease[Pending]], message: leases.LeaseBroken) -> set[ObjectId]:
    """The tasks a dead worker had started: of its last lease, those up to `started`."""
    begun: set[ObjectId] = set()
    for lease in ours:
        order = list(lease.inflight)
        if lease.grant.lease != message.lease:
            begun.update(order)
        elif message.started in lease.inflight:
            begun.update(order[: order.index(message.started) + 1])
    return begun


def lacks_items(ours: list[Lease[Pending]], result: tasks.Result) -> bool:
    """Whether this result ends a generator some of whose items have not arrived."""
    found = (lease.inflight.get(result.tid) for lease in ours)
    pending = next((x for x in found if x is not None), None)
    return pending is not None and pending.stream is not None and pending.stream.lacks(result)
