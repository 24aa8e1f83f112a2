"""How far ahead a submitter pushes: bounded by time, kept back for leases that are coming."""

from __future__ import annotations

from rayhpc.runtime.owner.class_queue import (
    AHEAD,
    AHEAD_S,
    BATCH,
    GATHER,
    OVERDUE_S,
    ClassQueue,
    Lease,
)
from rayhpc.runtime.owner.pending import Pending
from rayhpc.wire.messages.common import Grant, SchedulingClass, Strategy

NOW = 100.0


def queue_with(tasks: int, leases: int, average: float = 0.0) -> ClassQueue:
    queue = ClassQueue(SchedulingClass({"CPU": 10_000}))
    queue.average = average
    for i in range(tasks):
        queue.ready.append(Pending(i.to_bytes(16, "big"), b"", None, 1, 0, "f"))
    for i in range(leases):
        queue.leases[i] = Lease(1 << 32 | i + 1, Grant(i, 1, {}), queue, NOW)
    return queue


def pushed(queue: ClassQueue, now: float = NOW) -> list[int]:
    sizes = []
    for lease, batch in queue.plan_pushes(now):
        lease.inflight.update({p.tid: p for p in batch})
        sizes.append(len(batch))
    return sizes


def test_one_task_each_while_nothing_is_known() -> None:
    assert pushed(queue_with(100, 2)) == [1, 1]


def test_short_tasks_go_in_batches_of_about_five_milliseconds() -> None:
    average = 50e-6
    sizes = pushed(queue_with(1000, 2, average))
    assert sizes == [1 + int(AHEAD_S / average)] * 2


def test_long_tasks_are_never_queued_behind_each_other() -> None:
    assert pushed(queue_with(100, 3, average=0.01)) == [1, 1, 1]


def test_few_tasks_are_shared_evenly() -> None:
    assert pushed(queue_with(10, 2, average=1e-5)) == [5, 5]


def test_a_task_is_kept_back_for_each_lease_that_is_coming() -> None:
    queue = queue_with(10, 1, average=1e-5)
    queue.requests[1] = (1, NOW)
    assert sum(pushed(queue)) < 10
    queue.ready.extend([])
    late = queue_with(10, 1, average=1e-5)
    late.requests[1] = (1, NOW - 1.0)
    assert sum(pushed(late)) == 10


def test_a_blocked_or_ended_lease_gets_nothing() -> None:
    queue = queue_with(10, 2, average=1e-5)
    queue.leases[0].blocked = True
    queue.leases[1].ended = True
    assert pushed(queue) == []


def test_what_waits_behind_a_long_task_is_recalled_when_another_lease_idles() -> None:
    queue = queue_with(0, 2)
    busy = queue.leases[0]
    busy.inflight = {bytes([i]): Pending(bytes([i]), b"", None, 1, 0, "f") for i in range(3)}
    assert queue.stuck(NOW) == []
    assert queue.stuck(NOW + 0.01) == [busy]
    busy.recalling = True
    assert queue.stuck(NOW + 0.01) == []


def test_what_waits_behind_a_task_that_takes_too_long_goes_elsewhere() -> None:
    """They may wait for each other: with room in the cluster, all of them must run."""
    queue = queue_with(4, 2, average=1e-5)
    assert pushed(queue) == [2, 2]
    assert queue.deadline() == NOW + OVERDUE_S
    assert queue.stuck(NOW + OVERDUE_S / 2) == []
    late = NOW + OVERDUE_S
    assert queue.stuck(late) == list(queue.leases.values())
    for lease in queue.leases.values():
        queue.ready.append(lease.inflight.pop(list(lease.inflight)[1]))
        lease.progress = late
    # Not to the same workers again, although they have answered.
    assert pushed(queue, late) == []
    assert queue.requests_wanted() == 2
    queue.leases[7] = Lease(2 << 32 | 1, Grant(7, 1, {}), queue, late)
    assert pushed(queue, late) == [2]
    ended = queue.leases[0]
    ended.inflight.clear()
    queue.ready.append(Pending(bytes(16), b"", None, 1, 0, "f"))
    assert pushed(queue, late) == [1]
    assert len(ended.inflight) == 1


def test_leases_are_asked_for_ahead_of_need_but_not_without_end() -> None:
    queue = queue_with(1000, 0)
    assert queue.requests_wanted() == 2
    queue.requests = {1: (1, NOW), 2: (1, NOW)}
    assert queue.requests_wanted() == 0
    queue.queued[1] = ""
    assert queue.requests_wanted() == 0


def test_an_idle_lease_goes_back_after_a_while() -> None:
    queue = queue_with(0, 1)
    assert queue.idle(NOW + 0.05) == []
    deadline = queue.deadline()
    assert deadline is not None
    assert queue.idle(deadline) == [queue.leases[0]]


def test_cancelled_tasks_are_not_pushed() -> None:
    queue = queue_with(3, 1, average=1e-5)
    queue.ready[1].cancelled = True
    assert pushed(queue) == [2]


def test_tasks_that_are_to_be_spread_wait_for_a_lease_each() -> None:
    queue = ClassQueue(SchedulingClass({"CPU": 10_000}, Strategy("spread")))
    queue.average = 1e-5
    queue.ready.extend(Pending(bytes([i]) * 16, b"", None, 1, 0, "f") for i in range(6))
    assert queue.requests_wanted() == 6
    queue.requests = dict.fromkeys(range(5), (1, NOW))
    queue.leases[1] = Lease(1 << 32 | 1, Grant(1, 1, {}), queue, NOW)
    assert pushed(queue) == [1]
    assert len(queue.ready) == 5
    queue.leases[1].inflight.clear()
    assert pushed(queue) == []
    # Nor is it kept for later ones, which would all go there.
    queue.ready.clear()
    assert queue.idle(NOW) == [queue.leases[1]]


def test_a_task_that_an_idle_worker_could_run_is_taken_in_at_once() -> None:
    queue = queue_with(AHEAD + 1, 2, average=1e-5)
    assert queue.patience() == 1
    busy, idle = queue.leases.values()
    busy.inflight.update({p.tid: p for p in queue.ready})
    assert queue.patience() == 1
    idle.inflight.update(busy.inflight)
    assert queue.patience() == GATHER


def test_long_tasks_do_not_wait_for_each_other() -> None:
    queue = queue_with(AHEAD + 1, 1, average=AHEAD_S / 8)
    queue.leases[0].inflight.update({p.tid: p for p in queue.ready})
    assert queue.patience() == 1


def test_while_nothing_can_be_done_with_them_many_tasks_gather() -> None:
    queue = queue_with(1000, 1, average=1e-5)
    queue.leases[0].inflight.update({p.tid: p for p in queue.ready})
    assert queue.patience() == 1, "a further lease can be asked for"
    queue.requests = {1: (1, NOW), 2: (1, NOW)}
    assert queue.patience() == BATCH
