"""What is kept of one request for a worker, and of one lease.

Used by `leases`.  Holds state only.
"""

from __future__ import annotations

from dataclasses import dataclass

from rayhpc.raylet.claims import Claim, Holding
from rayhpc.raylet.resources import Allocation
from rayhpc.raylet.workers import Waiter, Worker
from rayhpc.wire.address import Address
from rayhpc.wire.messages.common import Resources, SchedulingClass


@dataclass(eq=False)
class Request:
    """One submitter's wish for a worker; `claim` while it waits for resources."""

    client: Address
    number: int
    wanted: SchedulingClass
    arrived: float
    hops: int
    backlog: int
    claim: Claim | None = None
    allocation: Allocation | None = None
    waiter: Waiter | None = None
    told: str | None = None
    kind: bytes = b""
    # No node that is here can ever serve it, this one neither, whatever it has free.
    is_stuck: bool = False

    @property
    def claimant(self) -> tuple[Address, bytes]:
        """Whom it counts for: fairness is between classes of submitters."""
        return self.client, self.kind

    @property
    def resources(self) -> Resources:
        """What it asks for."""
        return self.wanted.resources


@dataclass(eq=False)
class Lease:
    """A worker in a submitter's hands; `returned` while a revocation is still under way."""

    number: int
    client: Address
    worker: Worker
    holding: Holding
    returned: bool = False
