"""The interfaces between the parts of a worker, so that none of them needs the whole.

Used by those that run user code (`actor`, `task_runner`, `generators`, the lanes); they get a
`worker.Worker` and an `actor.ActorHost`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from rayhpc.runtime.process.process import Process
from rayhpc.runtime.worker.definitions import Definitions
from rayhpc.runtime.worker.execution import Outcome, Runnable
from rayhpc.runtime.worker.lease_queue import LeaseQueue
from rayhpc.runtime.worker.outbox import Journal
from rayhpc.runtime.worker.replies import Replies
from rayhpc.runtime.worker.task_log import TaskLog
from rayhpc.runtime.worker.threads import Threads
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages.common import Grant


class WorkerSlot(Journal, Protocol):
    """Where a worker records what the raylet reads after its death (`wire.slots.Slot`)."""

    def note_start(self, tid: ObjectId) -> None:
        """A task or call starts."""


class ItemSender(Protocol):
    """Sends the items of generators (`generators.Producers`)."""

    def run(self, owner: Address, task: Runnable, values: Any, start: float) -> Outcome:
        """Send every item of `values`; the outcome is their number."""

    async def run_async(
        self, owner: Address, task: Runnable, items: AsyncIterator[Any], start: float
    ) -> Outcome:
        """`run` for an asynchronous generator, in the actor's event loop."""


class WorkerParts(Protocol):
    """A worker.

    Attributes:
        leaving: why it is exiting; None: it serves.
    """

    leaving: str | None

    @property
    def process(self) -> Process:
        """Its process."""

    @property
    def slot(self) -> WorkerSlot:
        """Where it records what it starts."""

    @property
    def threads(self) -> Threads:
        """The threads in which it runs user code."""

    @property
    def definitions(self) -> Definitions:
        """The functions it has been sent."""

    @property
    def log(self) -> TaskLog:
        """What it has run."""

    @property
    def queue(self) -> LeaseQueue:
        """The tasks of its lease."""

    @property
    def replies(self) -> Replies:
        """Its results that are not sent yet."""

    @property
    def producers(self) -> ItemSender:
        """What sends the items of its generators."""

    @property
    def actor(self) -> object | None:
        """The actor it hosts; None: it runs tasks."""

    def enter_job_of(self, grant: Grant) -> None:
        """Apply a lease's or actor's grant, once the job is known."""

    def wait_for_arguments(self, done: Callable[[], bool], oids: list[ObjectId]) -> bool:
        """Wait for arguments of what is to run next.

        Raises:
            LeaseLostError: it cannot run here.
        """

    def leave(self, reason: str, code: int = 0) -> None:
        """Exit after what is running now (any thread)."""
