"""Jobs: present and past drivers, and what workers must know to run tasks for them.

Used by `head`.  A job's number is assigned by its driver's raylet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from rayhpc.head.ledger import NUMBER_BYTES, Ledger, encode, number_key, number_of
from rayhpc.wire.address import Address, NodeNumber, node_of
from rayhpc.wire.messages.cluster import GetJob, JobIs, JobStarted
from rayhpc.wire.messages.listings import JobRow

ENDED_KEPT = 1_000

_decode_row = msgspec.msgpack.Decoder(JobRow).decode


class Jobs:
    """The table of jobs.

    Args:
        send: sends a message.
        wall: seconds since the epoch.
        ledger: keeps them.
    """

    def __init__(
        self,
        send: Callable[[Address, msgspec.Struct], None],
        wall: Callable[[], float],
        ledger: Ledger,
    ) -> None:
        self._ledger = ledger
        self._send = send
        self._wall = wall
        self._rows: dict[int, JobRow] = {}
        self._by_driver: dict[Address, int] = {}
        self._waiting: dict[int, dict[Address, None]] = {}
        # The raylets that have asked about a job: they work for it.
        self._raylets: dict[int, dict[Address, None]] = {}
        self._ended: deque[int] = deque()
        self._restore()

    def on_started(self, _: Address, message: JobStarted) -> None:
        """A driver has attached; whoever asked about its job is told."""
        job = message.job
        self._set(JobRow(job, True, job.started or self._wall()))
        self._by_driver[job.driver] = job.number
        for raylet in self._waiting.pop(job.number, ()):
            self._send(raylet, JobIs(job))

    def on_get(self, source: Address, message: GetJob) -> None:
        """A raylet needs a job; it is answered once the job is known."""
        self._raylets.setdefault(message.number, {})[source] = None
        self._ledger.put("job_raylets", number_key(message.number) + number_key(source), b"")
        row = self._rows.get(message.number)
        if row is not None:
            self._send(source, JobIs(row.job))
        else:
            self._waiting.setdefault(message.number, {})[source] = None

    def process_gone(self, address: Address, reason: str) -> int | None:
        """A process has ended; returns the number of the job that ends with it, if any."""
        number = self._by_driver.pop(address, None)
        if number is None:
            return None
        row = self._rows[number]
        self._set(JobRow(row.job, False, row.started, self._wall(), reason))
        self._ended.append(number)
        if len(self._ended) > ENDED_KEPT:
            oldest = self._ended.popleft()
            self._rows.pop(oldest, None)
            self._ledger.drop("jobs", number_key(oldest))
            for raylet in self._raylets.pop(oldest, ()):
                self._ledger.drop("job_raylets", number_key(oldest) + number_key(raylet))
        return number

    def _set(self, row: JobRow) -> None:
        self._rows[row.job.number] = row
        self._ledger.put("jobs", number_key(row.job.number), encode(row))

    def _restore(self) -> None:
        """What an earlier life of the head knew; who asked about a new job still waits."""
        for _, value in self._ledger.rows("jobs"):
            row = _decode_row(value)
            self._rows[row.job.number] = row
            if row.alive:
                self._by_driver[row.job.driver] = row.job.number
        ended = sorted((x.ended, number) for number, x in self._rows.items() if not x.alive)
        self._ended.extend(number for _, number in ended)
        for key, _ in self._ledger.rows("job_raylets"):
            number, raylet = number_of(key[:NUMBER_BYTES]), number_of(key[NUMBER_BYTES:])
            self._raylets.setdefault(number, {})[raylet] = None
            if number not in self._rows:
                self._waiting.setdefault(number, {})[raylet] = None

    def drivers_on(self, number: NodeNumber) -> list[Address]:
        """The drivers on a node."""
        return [address for address in self._by_driver if node_of(address) == number]

    def raylets_of(self, number: int) -> list[Address]:
        """The raylets that have asked about a job; some may be gone."""
        return list(self._raylets.get(number, ()))

    def running(self) -> int:
        """The number of running jobs."""
        return len(self._by_driver)

    def rows(self) -> list[JobRow]:
        """All jobs, as rows for tables."""
        return list(self._rows.values())
