"""What a worker that has died leaves to its submitter's judgement: pure functions.

Used by `submission` when a raylet has told of the death (`docs/explanation/protocol.md`).
"""

from __future__ import annotations

from rayhpc.runtime.owner.class_queue import Lease
from rayhpc.runtime.owner.pending import Pending
from rayhpc.wire.address import ObjectId
from rayhpc.wire.messages import leases, tasks


def begun_of(ours: list[Lease[Pending]], message: leases.LeaseBroken) -> set[ObjectId]:
    """What a dead worker had started: all of earlier leases, of the last one up to `started`."""
    begun: set[ObjectId] = set()
    for lease in ours:
        order = list(lease.inflight)
        if lease.grant.lease != message.lease:
            begun.update(order)
        elif message.started in lease.inflight:
            begun.update(order[: order.index(message.started) + 1])
    return begun


def lacks_items(ours: list[Lease[Pending]], result: tasks.Result) -> bool:
    """Whether this is the end of a generator of which not all items have come."""
    found = (lease.inflight.get(result.tid) for lease in ours)
    pending = next((x for x in found if x is not None), None)
    return pending is not None and pending.stream is not None and pending.stream.lacks(result)
