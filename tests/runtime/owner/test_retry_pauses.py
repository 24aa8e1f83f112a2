"""What has raised runs again at once, then after pauses that grow up to a second."""

from __future__ import annotations

from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.retry_pauses import LONGEST_S, SHORTEST_S, RetryPauses
from rayhpc.wire.messages import leases, tasks
from tests.runtime.fakes import Side
from tests.runtime.owner.test_submission import WORKER, with_queue_at_worker


def paused(attempt: int) -> float:
    """How long the attempt after this one is put off."""
    now = [0.0]
    resumed: list[Pending] = []
    pauses = RetryPauses(lambda: now[0])
    pending = Pending(b"t", b"", None, 1, -1, "f", attempt=attempt)
    pauses.begin(pending, resumed.append)
    if resumed:
        assert pauses.deadline() is None
        assert pauses.deadline([5.0, 4.0]) == 4.0
        return 0.0
    assert pauses.has(pending)
    assert pauses.waiting() == [pending]
    due = pauses.deadline()
    assert due is not None
    assert pauses.deadline([-1.0]) == -1.0
    now[0] = due - 0.001
    pauses.on_time()
    assert resumed == []
    now[0] = due
    pauses.on_time()
    assert resumed == [pending]
    assert not pauses.has(pending)
    return due


def test_the_first_retry_comes_at_once_and_later_ones_wait_longer() -> None:
    waits = [paused(attempt) for attempt in range(10)]
    assert waits[:3] == [0.0, SHORTEST_S, 2 * SHORTEST_S]
    assert waits == sorted(waits)
    assert sum(waits) > 3.0
    assert paused(10**6) == LONGEST_S


def fails(side: Side, tid: bytes) -> None:
    result = tasks.Result(tid, tasks.FAILED, [b"the error"], 1, retry=True)
    side.submitter.on_done(WORKER, [result])
    side.submitter.advance()


def test_a_task_waits_for_its_third_attempt_and_may_be_cancelled_meanwhile() -> None:
    side = Side()
    (task,) = with_queue_at_worker(side, 1, retries=5)
    fails(side, task.tid)
    assert [t.attempt for push in side.take(tasks.Push) for t in push.tasks] == [1]
    fails(side, task.tid)
    assert side.take(tasks.Push) == []
    assert list(side.submitter.unfinished()) == [task]
    due = side.submitter.deadline()
    assert due is not None
    assert side.submitter.make_again(task.tid, task) is None
    assert task.attempt == 1
    side.now += SHORTEST_S
    side.submitter.on_time()
    side.submitter.advance()
    assert [t.attempt for push in side.take(tasks.Push) for t in push.tasks] == [2]
    fails(side, task.tid)
    side.submitter.cancel(task, force=False, recursive=False)
    assert list(side.submitter.unfinished()) == []
    side.take(leases.LeaseReturn)
    side.lose_patience()
    side.submitter.advance()
    assert side.take(tasks.Push) == []
