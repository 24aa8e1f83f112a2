"""What the parts of a worker know of each other, so that none of them needs the whole.

Used by those that run user code (`actor`, `task_runner`, `generators`, the lanes); `worker.Worker`
and `actor.ActorHost` are what they get.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
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
    """Where a worker notes what the raylet reads after its death (`wire.slots.Slot`)."""

    def note_start(self, tid: ObjectId) -> None:
        """A task or call starts."""


class ItemSender(Protocol):
    """Sends the items of generators (`generators.Producers`)."""

    def run(self, owner: Address, task: Runnable, values: Any, start: float) -> Outcome:
        """Send every item of `values`; the outcome is how many there were."""

    async def run_async(
        self, owner: Address, task: Runnable, items: AsyncIterator[Any], start: float
    ) -> Outcome:
        """`run` for an asynchronous generator, in the actor's event loop."""


class WorkerParts(Protocol):
    """A worker.

    Attributes:
        leaving: why it ends; None: it serves.
    """

    leaving: str | None

    @property
    def process(self) -> Process:
        """Its process."""

    @property
    def slot(self) -> WorkerSlot:
        """Where it notes what it starts."""

    @property
    def threads(self) -> Threads:
        """Those it runs user code in."""

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
        """Its results on their way."""

    @property
    def producers(self) -> ItemSender:
        """What sends the items of its generators."""

    @property
    def actor(self) -> object | None:
        """The actor it is; None: it runs tasks."""

    def enter_job_of(self, grant: Grant) -> None:
        """Be what a lease or actor says, once the job has been told."""

    def leave(self, reason: str, code: int = 0) -> None:
        """End this process after what runs now (any thread)."""


