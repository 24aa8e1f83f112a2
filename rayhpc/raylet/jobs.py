"""The jobs that this node works for: their configuration, requested from the head if unknown.

Used by `workers` (for what a worker must know about its job) and by `node`, which numbers the jobs
of the drivers that attach here.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.wire.address import HEAD, Address, NodeNumber, node_of, raylet_of
from rayhpc.wire.messages import cluster, leases
from rayhpc.wire.messages.common import JobConfig

# A job's number has room for this many drivers per node.
_NODE_SHIFT = 16

Send = Callable[[Address, msgspec.Struct], None]


class KnownJobs:
    """All jobs known to this node.

    Args:
        me: this node's raylet.
        node: its number.
        send: sends a message.
    """

    def __init__(self, me: Address, node: NodeNumber, send: Send) -> None:
        self._me = me
        self._node = node
        self._send = send
        self._known: dict[int, JobConfig] = {}
        self._asked: set[int] = set()
        self._ended: set[int] = set()
        self._last = 0

    def new_number(self) -> int:
        """A number that no other job of the cluster has."""
        self._last += 1
        return self._node << _NODE_SHIFT | self._last

    def add(self, job: JobConfig) -> None:
        """A job is known from now on; we watch for its driver's end."""
        if job.number not in self._known and job.driver:
            self._send_watch(job.driver)
        self._known[job.number] = job

    def get(self, number: int) -> JobConfig | None:
        """A job; None: the head has been asked."""
        found = self._known.get(number)
        if found is None and number not in self._asked:
            self._asked.add(number)
            self._send(HEAD, cluster.GetJob(number))
        return found

    def of_driver(self, driver: Address) -> list[int]:
        """The jobs of a driver that are not over yet."""
        return [
            x.number
            for x in self._known.values()
            if x.driver == driver and x.number not in self._ended
        ]

    def on_node(self, node: NodeNumber) -> list[JobConfig]:
        """The jobs whose driver is on a node."""
        return [x for x in self._known.values() if node_of(x.driver) == node]

    def end(self, number: int) -> None:
        """A job's driver has ended; detached actors of it may live on."""
        self._ended.add(number)

    def is_over(self, number: int) -> bool:
        """Whether a job's driver is known to have ended."""
        return number in self._ended

    def _send_watch(self, driver: Address) -> None:
        raylet = raylet_of(node_of(driver))
        if raylet != self._me:
            self._send(raylet, leases.Watch(driver, self._me))
