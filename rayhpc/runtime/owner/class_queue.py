"""A scheduling class at its submitter: waiting tasks, leases, and how many tasks to push ahead.

Used by `submission`.  Pure decisions: it is told the time and answers what to push, how many
leases to ask for, and what to recall.  The bounds are design section 4's: about 5 ms of expected
work ahead of what runs, one task while nothing is known.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, Protocol, TypeVar

from rayhpc.wire import limits
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages.common import Grant, SchedulingClass

AHEAD_S = 0.005
DEPTH_MAX = 1000
# A task costs the worker about this much beyond the user's code (measured: 5 to 9 µs).
OVERHEAD_S = 6e-6
GRANT_PATIENCE_S = 0.05
IDLE_RETURN_S = 0.1
SPREAD_REQUESTS = 32
RECALL_AFTER_S = 0.002
# At most this many submitted tasks are gathered before they are taken in.
BATCH = 128
# So many that take no longer than SHORT_S each are, while every worker has more than AHEAD of them:
# taking in each by itself costs its submitter 10 µs, and either end a message (17 → 8 µs a task).
GATHER = 32
AHEAD = 2
SHORT_S = 1e-4
# A worker that has sent no result for this long, and for several times the expected time of its
# tasks, runs a longer task than expected: no task should wait behind that one.
OVERDUE_S = 0.02
_SMOOTHING = 0.3


class Waiting(Protocol):
    """What a queue needs to know of a task (`pending.Pending`)."""

    cancelled: bool
    size: int
    lease: Lease[Any] | None


Item = TypeVar("Item", bound=Waiting)


class Lease(Generic[Item]):
    """A worker leased to this submitter; `inflight` is in the order of execution."""

    __slots__ = (
        "blocked",
        "bytes",
        "ended",
        "grant",
        "granted_known",
        "idle_since",
        "inflight",
        "overdue",
        "progress",
        "queue",
        "recalling",
        "worker",
    )

    def __init__(self, worker: Address, grant: Grant, queue: ClassQueue[Item], now: float) -> None:
        self.worker = worker
        self.grant = grant
        self.queue = queue
        self.inflight: dict[ObjectId, Item] = {}
        # The bytes of their arguments.
        self.bytes = 0
        self.granted_known = False
        self.blocked = False
        self.ended = False
        self.recalling = False
        self.progress = now
        self.idle_since = now
        # The task that was found to take longer than expected; stale once that one has ended.
        self.overdue: ObjectId | None = None

    def remove(self, tid: ObjectId) -> Item | None:
        """Remove a task that has ended or comes back; None: it is not here."""
        pending = self.inflight.pop(tid, None)
        if pending is not None:
            self.bytes -= pending.size
            pending.lease = None
        return pending

    def clear(self) -> list[Item]:
        """The worker is gone: return the tasks it had."""
        found = list(self.inflight.values())
        self.inflight.clear()
        self.bytes = 0
        for pending in found:
            pending.lease = None
        return found

    def is_overdue(self, now: float) -> bool:
        """Whether the running task takes longer than everything pushed was expected to."""
        running = next(iter(self.inflight), None)
        if running is None:
            return False
        if now >= self.progress + OVERDUE_S:
            self.overdue = running
        return self.overdue == running


class ClassQueue(Generic[Item]):
    """The tasks of one scheduling class that wait, and the leases that serve them."""

    def __init__(self, wanted: SchedulingClass) -> None:
        self.wanted = wanted
        self.ready: deque[Item] = deque()
        self.leases: dict[int, Lease[Item]] = {}
        # Lease requests under way: number → (node asked, time); `queued` have been told to wait.
        self.requests: dict[int, tuple[int, float]] = {}
        self.queued: dict[int, str] = {}
        self.average = 0.0
        # Tasks that are to be spread get a lease each; what is kept back for those sees to it, and
        # that no lease is kept for later ones, which would go where these went.
        self.spreads = wanted.strategy.kind == "spread"
        self._idle_return = 0.0 if self.spreads else IDLE_RETURN_S
        # When `plan_pushes` looked last: patience that has ended since then is still news.
        self.planned = 0.0
        # Whether some of `ready` may be cancelled; those in front go by themselves.
        self.has_cancelled = False
        # What the raylet has been told of its backlog.
        self.reported = (0, "")
        # How many new tasks may wait for each other before they are taken in (`patience`).
        self.gather = 1

    # -- how far ahead ---------------------------------------------------------------------------
    def depth(self) -> int:
        """How many tasks a worker may have: the running one, and 5 ms of expected work."""
        if not self.average or self.spreads:
            return 1
        return 1 + min(int(AHEAD_S / self.average), DEPTH_MAX)

    def observe(self, seconds: float, tasks: int) -> None:
        """Note that a batch of `tasks` has ended that ran for `seconds` in total."""
        mean = seconds / tasks + OVERHEAD_S
        self.average = (
            mean if not self.average else self.average + _SMOOTHING * (mean - self.average)
        )

    def expected_grants(self, now: float) -> int:
        """Requests that may still be granted at once: work is kept back for them."""
        return sum(
            1
            for number, (_, sent) in self.requests.items()
            if number not in self.queued and sent + GRANT_PATIENCE_S > now
        )

    def plan_pushes(self, now: float) -> list[tuple[Lease[Item], list[Item]]]:
        """Decide what to push to whom now, and take it from the waiting tasks."""
        ready = self.ready
        while ready and ready[0].cancelled:
            ready.popleft()
        if not ready or not self.leases:
            return []
        expected = self.expected_grants(now)
        self.planned = now
        depth = self.depth()
        open_leases = [
            x
            for x in self.leases.values()
            if not x.blocked and not x.ended and not x.is_overdue(now)
        ]
        open_leases.sort(key=_load)
        share = -(-len(ready) // (len(open_leases) + expected or 1))
        plan = []
        for lease in open_leases:
            room = depth - len(lease.inflight)
            spare = len(ready) - expected
            if spare <= 0:
                break
            # Topping up by a task or two costs a message each: wait until half are done.
            if room <= 0 or (lease.inflight and room * 2 < depth):
                continue
            if lease.bytes >= limits.LEASE_BYTES:
                continue
            batch = self._take(min(room, share, spare), limits.LEASE_BYTES - lease.bytes)
            if batch:
                plan.append((lease, batch))
        return plan

    def _take(self, count: int, size: int) -> list[Item]:
        """The next tasks, up to a number, and up to the one that exceeds a size in bytes."""
        ready = self.ready
        batch: list[Item] = []
        while ready and len(batch) < count and size > 0:
            pending = ready.popleft()
            if not pending.cancelled:
                batch.append(pending)
                size -= pending.size
        return batch

    def backlog(self) -> tuple[int, str]:
        """How many tasks wait because no node has room, and a raylet's words if it is for long."""
        if not self.queued:
            return 0, ""
        if self.has_cancelled:
            self.has_cancelled = False
            self.ready = deque(x for x in self.ready if not x.cancelled)
        count = len(self.ready)
        return count, next(filter(None, self.queued.values()), "") if count else ""

    # -- leases ----------------------------------------------------------------------------------
    def requests_wanted(self) -> int:
        """How many more leases to ask for: the number doubles while tasks wait."""
        if self.queued or not self.ready:
            return 0
        allowed = SPREAD_REQUESTS if self.spreads else max(2, len(self.leases))
        return min(len(self.ready), allowed) - len(self.requests)

    def patience(self) -> int:
        """How many tasks that are added may wait for each other before they are taken in.

        Returns:
            1 if a single one could be used at once, GATHER if no worker needs it for a moment,
            BATCH if an event is sure to come before anything can be done with it.
        """
        fewest = min(
            (len(x.inflight) for x in self.leases.values() if not x.blocked and not x.ended),
            default=DEPTH_MAX,
        )
        if fewest <= self.depth() // 2:
            return GATHER if fewest > AHEAD and self.average <= SHORT_S else 1
        if not self.queued and len(self.requests) < max(2, len(self.leases)):
            return 1
        return BATCH

    def stuck(self, now: float) -> list[Lease[Item]]:
        """Leases whose queue should be recalled.

        Because another lease has nothing to do, or because the task at its front takes so long that
        more leases are needed: tasks that wait for each other must run at the same time.
        """
        if self.ready:
            return []
        spare = any(not x.inflight and not x.ended for x in self.leases.values())
        return [
            x
            for x in self.leases.values()
            if len(x.inflight) > 1
            and not x.recalling
            and (x.is_overdue(now) or (spare and now >= x.progress + RECALL_AFTER_S))
        ]

    def idle(self, now: float) -> list[Lease[Item]]:
        """Leases that have been idle long enough to be returned."""
        if self.ready:
            return []
        return [
            x
            for x in self.leases.values()
            if not x.inflight and now >= x.idle_since + self._idle_return
        ]

    def deadline(self) -> float | None:
        """When this queue must be looked at again even without an event; None: never."""
        times: list[float] = []
        idle = [x for x in self.leases.values() if not x.inflight]
        if not self.ready:
            times += [x.idle_since + self._idle_return for x in idle]
            patience = RECALL_AFTER_S if idle else OVERDUE_S
            times += [
                x.progress + patience
                for x in self.leases.values()
                if len(x.inflight) > 1 and not x.recalling
            ]
        if self.ready and self.leases:
            times += [
                sent + GRANT_PATIENCE_S
                for number, (_, sent) in self.requests.items()
                if number not in self.queued and sent + GRANT_PATIENCE_S > self.planned
            ]
        return min(times, default=None)


def _load(lease: Lease[Item]) -> int:
    return len(lease.inflight)
