"""The tasks that a leased worker has not started, and the one it runs: a state machine.

Fed by `worker` with messages and with what its main thread does, also in the simulation; answers
with messages through `send`.  `take` and `ended` are called by the main thread, everything else by
the leading one: the two share only the ends of one deque and single words.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import leases, tasks
from rayhpc.wire.messages.common import Grant

Send = Callable[[Address, msgspec.Struct], None]


class Queued(msgspec.Struct, eq=False, gc=False):
    """A task that has not started."""

    task: tasks.Task
    submitter: Address
    lease: int


class LeaseQueue:
    """The tasks of the current lease.

    Args:
        grant: what is granted before the first lease.
        send: sends a message.
        interrupt: has the main thread interrupted, if it is in user code.
        revoked: called when a revoked lease has ended, by its number; by any thread.

    Attributes:
        waiting: the tasks that have not started, in order.
        running: the id of the one that runs; empty: none.
        grant: what the tasks may use.
        is_lent: the running task waits, and its CPUs are lent to others.
        is_closed: the process leaves, and takes no task any more.
        cancelled: the id of the one that was cancelled last while it ran; empty: none.
    """

    def __init__(
        self,
        grant: Grant,
        send: Send,
        interrupt: Callable[[], None],
        revoked: Callable[[int], None],
    ) -> None:
        self.waiting: deque[Queued] = deque()
        self.running: ObjectId = b""
        self.grant = grant
        self.is_lent = False
        self.is_closed = False
        self.cancelled: ObjectId = b""
        self._send = send
        self._interrupt = interrupt
        self._on_revoked = revoked
        self._holder: Address = 0
        self._revoked = 0
        self._ending = 0

    # -- the main thread ---------------------------------------------------------------------------
    def take(self) -> Queued | None:
        """The task to run next, which counts as running from now on; None: there is none."""
        waiting = self.waiting
        try:
            # This comes first: a task must be in one place or the other at every moment.
            self.running = waiting[0].task.tid
            item = waiting.popleft()
        except IndexError:  # recalled at this very moment
            self.running = b""
            return None
        self.running = item.task.tid
        return item

    def ended(self) -> None:
        """The running task has ended."""
        self.running = b""
        if self._ending and not self.waiting:
            self._on_revoked(self._ending)

    def is_cancelled(self, tid: ObjectId) -> bool:
        """Whether the running task was cancelled (any thread)."""
        return self.cancelled == tid

    # -- messages ----------------------------------------------------------------------------------
    def push(self, submitter: Address, message: tasks.Push) -> None:
        """Take tasks of a lease, unless it was taken back or the running task waits."""
        lease = message.lease
        ended = lease <= self._revoked or self.is_closed
        if not ended and message.grant is not None:
            self._holder = submitter
            self.grant = message.grant
        if ended or self.is_lent:
            tids = [x.tid for x in message.tasks]
            self._send(submitter, tasks.Refused(lease, tids, blocked=not ended, ended=ended))
            return
        self.waiting.extend([Queued(task, submitter, lease) for task in message.tasks])

    def recall(self, submitter: Address, message: tasks.Recall) -> None:
        """Give back the newest tasks of this submitter's lease; others' stay where they are.

        The lease may have been taken back since the message was sent, and another hold the worker.
        """
        waiting = self.waiting
        back: list[ObjectId] = []
        while len(back) < message.count:
            try:
                last = waiting[-1]
                if last.lease != message.lease or last.submitter != submitter:
                    break
                back.append(waiting.pop().task.tid)
            except IndexError:  # started in this moment
                break
        back.reverse()
        self._send(submitter, tasks.Refused(message.lease, back))

    def revoke(self, message: leases.Revoke) -> None:
        """Take back the lease: tasks not started are refused, the running one ends first."""
        self._revoked = max(self._revoked, message.lease)
        self._refuse_all(message.lease)
        self._ending = message.lease
        if not self.running:
            self._on_revoked(message.lease)

    def end_lease(self, lease: int) -> bool:
        """The lease that `revoked` was called for ends now; False: it has ended already."""
        if self._ending != lease or self.running:
            return False
        self._ending = 0
        return True

    def cancel(self, source: Address, tid: ObjectId) -> None:
        """Cancel a task: one that waits never starts, a running one is interrupted.

        A task that is unknown here has ended.
        """
        for item in list(self.waiting):
            if item.task.tid == tid:
                try:
                    self.waiting.remove(item)
                except ValueError:  # started in this moment
                    break
                self._send(source, tasks.Done([tasks.Result(tid, tasks.CANCELLED, [b""])]))
                return
        if self.running == tid and self.cancelled != tid:
            self.cancelled = tid
            self._interrupt()

    def lend(self) -> None:
        """The running task waits for others: the tasks queued behind it go elsewhere."""
        self.is_lent = True
        lease = self.grant.lease
        for submitter, tids in self._take_all().items():
            self._send(submitter, tasks.Refused(lease, tids, blocked=True))

    def hand_back(self, item: Queued) -> None:
        """The lease ends, and the task that runs, but has not entered user code, goes elsewhere."""
        self._revoked = max(self._revoked, item.lease)
        self._refuse_all(item.lease)
        self._send(item.submitter, tasks.Refused(item.lease, [item.task.tid], ended=True))
        self._ending = item.lease

    def abandon(self, lease: int) -> None:
        """The submitter of a lease has ended: nothing more starts, and what runs is interrupted."""
        self.is_closed = True
        self._take_all()
        if self.running and self.grant.lease == lease:
            self.cancelled = self.running
            self._interrupt()

    def close(self) -> None:
        """The process leaves: tasks not started are refused, and the lease ends."""
        self.is_closed = True
        self._refuse_all(self.grant.lease)

    def _refuse_all(self, lease: int) -> None:
        """Refuse the tasks not started; the holder is told even if there are none."""
        unstarted = self._take_all()
        if self._holder:
            unstarted.setdefault(self._holder, [])
        for submitter, tids in unstarted.items():
            self._send(submitter, tasks.Refused(lease, tids, ended=True))

    def _take_all(self) -> dict[Address, list[ObjectId]]:
        """Remove and return the tasks not started, by submitter."""
        found: dict[Address, list[ObjectId]] = {}
        while True:
            try:
                item = self.waiting.popleft()
            except IndexError:
                return found
            found.setdefault(item.submitter, []).append(item.task.tid)
