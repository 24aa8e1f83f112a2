"""The parts of a node, as seen by those parts that need several others.

Held by `node.Raylet`; read by `deaths` and `reporting`.  Declares names only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from rayhpc.raylet.actors import HostedActors
from rayhpc.raylet.backlogs import Backlogs
from rayhpc.raylet.bundles import ReservedBundles
from rayhpc.raylet.dispatch import Dispatch
from rayhpc.raylet.ended_workers import EndedWorkers
from rayhpc.raylet.groups import GroupOrders
from rayhpc.raylet.leases import Leases
from rayhpc.raylet.memory_monitor import MemoryMonitor
from rayhpc.raylet.node_io import NodeIO
from rayhpc.raylet.objects.manager import ObjectManager
from rayhpc.raylet.watches import Watches
from rayhpc.raylet.workers import WorkerPool
from rayhpc.wire.address import Address
from rayhpc.wire.messages.cluster import NodeUse


@dataclass(eq=False, slots=True)
class Attached:
    """A driver or observer on this node, `started` seconds after the epoch."""

    address: Address
    pid: int
    role: str
    job: int
    started: float = field(default_factory=time.time)


class DrainState(Protocol):
    """Whether this node takes work (`draining.Draining`).

    Attributes:
        is_on: nothing new is placed here.
    """

    is_on: bool

    def is_busy(self) -> bool:
        """Whether anything runs here, waits here, or has reserved something."""

    def use(self) -> NodeUse:
        """What it is in use for."""


class NodeParts(Protocol):
    """One node's parts.

    Attributes:
        orders: how many of the head's orders it has received.
        attached: the drivers and observers on this node.
    """

    io: NodeIO
    workers: WorkerPool
    ended_workers: EndedWorkers
    leases: Leases
    backlogs: Backlogs
    actors: HostedActors
    objects: ObjectManager
    memory: MemoryMonitor
    watches: Watches
    dispatch: Dispatch
    groups: GroupOrders
    bundles: ReservedBundles
    orders: int
    attached: dict[Address, Attached]

    def send(self, destination: Address, message: msgspec.Struct, /) -> None:
        """Send a message."""

    def job_over(self, driver: Address) -> None:
        """A driver is gone."""

    def pass_on_output(self, job: int) -> None:
        """Deliver what a job's workers have printed by now."""

    @property
    def draining(self) -> DrainState:
        """Whether anything new is placed here, and what it is in use for."""
