"""What a leased worker has been given: who may take it back, and what is told to whom."""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.worker.definitions import Definitions
from rayhpc.runtime.worker.lease_queue import LeaseQueue
from rayhpc.wire.messages import leases, tasks
from rayhpc.wire.messages.common import Grant

A, B = 0x1_0000_0003, 0x2_0000_0002


class Side:
    """A worker's queue, what it says, and whom it interrupts."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Any]] = []
        self.interrupts = 0
        self.revoked: list[int] = []
        self.queue = LeaseQueue(
            Grant(0, 1, {}),
            lambda to, message: self.sent.append((to, message)),
            self._interrupt,
            self.revoked.append,
        )

    def _interrupt(self) -> None:
        self.interrupts += 1

    def push(self, submitter: int, lease: int, *numbers: int) -> None:
        given = [tasks.Task(tid(n), b"f", b"") for n in numbers]
        self.queue.push(submitter, tasks.Push(lease, given, {}, Grant(lease, 1, {})))

    def told(self) -> list[tuple[int, int, list[bytes], bool, bool]]:
        found = [(to, m.lease, m.tids, m.blocked, m.ended) for to, m in self.sent]
        self.sent.clear()
        return found


def tid(number: int) -> bytes:
    return number.to_bytes(20, "big")


def test_a_recall_gives_back_the_newest_of_its_own_lease() -> None:
    side = Side()
    side.push(A, 5, 1, 2, 3)
    side.queue.recall(A, tasks.Recall(5, 2))
    assert side.told() == [(A, 5, [tid(2), tid(3)], False, False)]
    assert side.queue.take().task.tid == tid(1)  # type: ignore[union-attr]


def test_a_recall_that_comes_late_takes_nothing_of_the_next_holders() -> None:
    side = Side()
    side.push(A, 5, 1)
    side.queue.take()
    side.queue.revoke(leases.Revoke(5))
    side.queue.ended()
    side.push(B, 6, 2)
    side.sent.clear()
    side.queue.recall(A, tasks.Recall(5, 4))
    assert side.told() == [(A, 5, [], False, False)]
    assert [x.task.tid for x in side.queue.waiting] == [tid(2)]


def test_nor_of_the_same_submitters_next_lease() -> None:
    side = Side()
    side.queue.revoke(leases.Revoke(5))
    side.push(A, 6, 2)
    side.queue.recall(A, tasks.Recall(5, 1))
    assert side.told()[-1] == (A, 5, [], False, False)
    assert [x.task.tid for x in side.queue.waiting] == [tid(2)]


def test_a_revoked_lease_ends_after_what_runs_and_once() -> None:
    side = Side()
    side.push(A, 5, 1, 2)
    side.queue.take()
    side.queue.revoke(leases.Revoke(5))
    assert side.told() == [(A, 5, [tid(2)], False, True)]
    assert side.revoked == []
    assert not side.queue.end_lease(5)
    side.queue.ended()
    assert side.revoked == [5]
    assert side.queue.end_lease(5)
    assert not side.queue.end_lease(5)


def test_a_lease_that_idles_is_revoked_at_once_and_its_holder_told() -> None:
    side = Side()
    side.push(A, 5, 1)
    side.queue.take()
    side.queue.ended()
    side.queue.revoke(leases.Revoke(5))
    assert side.told() == [(A, 5, [], False, True)]
    assert side.revoked == [5]


def test_what_is_pushed_after_a_revocation_is_refused() -> None:
    side = Side()
    side.queue.revoke(leases.Revoke(5))
    side.push(A, 5, 1)
    assert side.told() == [(A, 5, [tid(1)], False, True)]


def test_while_the_cpus_are_lent_nothing_waits_here() -> None:
    side = Side()
    side.push(A, 5, 1, 2)
    side.queue.take()
    side.queue.lend()
    side.push(A, 5, 3)
    assert side.told() == [(A, 5, [tid(2)], True, False), (A, 5, [tid(3)], True, False)]
    side.queue.is_lent = False
    side.push(A, 5, 4)
    assert [x.task.tid for x in side.queue.waiting] == [tid(4)]


def test_what_waits_is_cancelled_here_and_what_runs_is_interrupted_once() -> None:
    side = Side()
    side.push(A, 5, 1, 2)
    side.queue.take()
    side.queue.cancel(A, tid(2))
    ((to, done),) = side.sent
    assert (to, done.results[0].tid, done.results[0].status) == (A, tid(2), tasks.CANCELLED)
    side.queue.cancel(A, tid(1))
    side.queue.cancel(A, tid(1))
    assert side.interrupts == 1
    assert side.queue.is_cancelled(tid(1))
    side.queue.cancel(A, tid(7))  # has ended
    assert (len(side.sent), side.interrupts) == (1, 1)


def test_a_worker_that_leaves_refuses_what_waits_and_what_comes() -> None:
    side = Side()
    side.push(A, 5, 1)
    side.queue.close()
    side.push(A, 5, 2)
    assert side.told() == [(A, 5, [tid(1)], False, True), (A, 5, [tid(2)], False, True)]


def test_functions_that_come_with_refused_tasks_are_kept() -> None:
    definitions = Definitions(lambda blob: blob.decode)
    definitions.learn(A, {b"f": b"code"})
    definitions.learn(A, {b"f": b"other"})
    assert b"f" in definitions
    assert definitions.get(b"f")() == "code"


def test_rings_of_functions_that_held_references_are_collected_once_they_were_loaded() -> None:
    collected: list[int] = []
    definitions = Definitions(lambda blob: blob.decode, lambda: collected.append(1))
    definitions.learn(A, {b"f": b"code", b"g": b"more", b"h": b"other"})
    definitions.get(b"f")
    definitions.get(b"g")
    definitions.forget(A, tasks.Forget([b"g"]))
    definitions.forget(A, tasks.Forget([b"h"], True))
    assert not collected
    definitions.forget(A, tasks.Forget([b"f"], True))
    assert collected == [1]


def test_a_function_goes_when_all_who_sent_it_have_no_task_left() -> None:
    definitions = Definitions(lambda blob: blob.decode)
    definitions.learn(A, {b"f": b"code", b"g": b"more"})
    definitions.learn(B, {b"f": b"code"})
    definitions.get(b"g")
    definitions.forget(A, tasks.Forget([b"f", b"g", b"unknown"]))
    assert b"f" in definitions
    assert b"g" not in definitions
    definitions.forget(B, tasks.Forget([b"f"]))
    assert b"f" not in definitions
    definitions.learn(B, {b"f": b"again"})
    assert definitions.get(b"f")() == "again"


def test_a_task_that_has_lost_what_its_lease_held_goes_elsewhere() -> None:
    side = Side()
    side.push(A, 5, 1, 2)
    item = side.queue.take()
    assert item is not None
    side.queue.hand_back(item)
    assert side.told() == [(A, 5, [tid(2)], False, True), (A, 5, [tid(1)], False, True)]
    side.queue.ended()
    assert side.revoked == [5]
    assert side.queue.end_lease(5)
    side.push(A, 5, 3)
    assert side.told() == [(A, 5, [tid(3)], False, True)]


def test_what_runs_for_a_submitter_that_has_ended_is_interrupted() -> None:
    side = Side()
    side.push(A, 5, 1, 2)
    side.queue.take()
    side.queue.abandon(5)
    assert side.interrupts == 1
    assert side.queue.is_cancelled(tid(1))
    assert not side.queue.waiting
    side.push(B, 6, 3)
    assert side.told() == [(B, 6, [tid(3)], False, True)]
