"""The records of a request for a worker, and of a lease.

Used by `leases`.  Holds state only.
"""

from __future__ import annotations

from dataclasses import dataclass

from rayhpc.raylet.dispatch import ResourceRequest, Revocable
from rayhpc.raylet.resources import Allocation
from rayhpc.raylet.workers import Waiter, WorkerProcess
from rayhpc.wire.address import Address
from rayhpc.wire.messages.common import Resources, SchedulingClass


@dataclass(eq=False)
class PendingLease:
    """One submitter's request for a worker; `resource_request` while it waits for resources."""

    client: Address
    number: int
    wanted: SchedulingClass
    arrived: float
    hops: int
    backlog: int
    resource_request: ResourceRequest | None = None
    allocation: Allocation | None = None
    waiter: Waiter | None = None
    told: str | None = None
    kind: bytes = b""
    # No present node can ever serve it, including this one, whatever it has free.
    is_stuck: bool = False
    # There was no room where its data is for long enough.
    goes_anywhere: bool = False

    @property
    def requester(self) -> tuple[Address, bytes]:
        """Whom it counts for: fairness is between submitters' scheduling classes."""
        return self.client, self.kind

    @property
    def resources(self) -> Resources:
        """The resources it asks for."""
        return self.wanted.resources


@dataclass(eq=False)
class GrantedLease:
    """A worker leased to a submitter; `returned` while a revocation is still in progress."""

    number: int
    client: Address
    worker: WorkerProcess
    revocable: Revocable
    returned: bool = False
