"""How many of a process's tasks wait: told when it changes, a few times a second, counted once."""

from __future__ import annotations

import pytest

from rayhpc.runtime.owner.backlog_reports import EVERY_S
from rayhpc.wire.messages import leases
from tests.runtime.fakes import CLASS, Side
from tests.runtime.owner.test_submission import WORKER


@pytest.fixture
def side() -> Side:
    return Side()


def told(side: Side) -> list[tuple[int, str]]:
    """What has been reported since the last look, after whatever is due now."""
    side.submitter.advance()
    side.submitter.on_time()
    changed = [x for message in side.take(leases.Backlog) for x in message.changed]
    assert all(x.wanted == CLASS for x in changed)
    return [(x.count, x.reason) for x in changed]


def queued(side: Side, text: str = "") -> list[int]:
    """Every request is told to wait; their numbers."""
    numbers = [r.request for r in side.take(leases.LeaseRequest)]
    for number in numbers:
        side.submitter.on_queued(leases.LeaseQueued(number, text))
    return numbers


def test_tasks_are_counted_once_however_many_requests_wait(side: Side) -> None:
    side.submit(5)
    assert told(side) == [], "they may be served at once"
    assert len(queued(side)) == 2
    assert told(side) == [(5, "")]
    side.now += 1.0
    assert told(side) == [], "nothing has changed"
    assert side.submitter.deadline() is None, "so nothing is due"


def test_a_change_is_told_a_few_times_a_second_at_most(side: Side) -> None:
    side.submit(2)
    queued(side)
    assert told(side) == [(2, "")]
    for _ in range(5):
        side.submit(1)
        assert told(side) == []
    assert side.submitter.deadline() == side.now + EVERY_S
    side.now += EVERY_S
    assert told(side) == [(7, "")]


def test_a_task_that_is_pushed_waits_no_longer(side: Side) -> None:
    side.submit(3)
    first, _ = queued(side)
    assert told(side) == [(3, "")]
    side.grant(first, WORKER, 1)
    side.now += EVERY_S
    assert told(side) == [(2, "")]


def test_when_no_request_waits_nothing_does(side: Side) -> None:
    side.submit(1)
    (number,) = queued(side)
    assert told(side) == [(1, "")]
    side.grant(number, WORKER, 1)
    side.now += EVERY_S
    assert told(side) == [(0, "")]


def test_cancelled_tasks_wait_no_longer(side: Side) -> None:
    found = side.submit(4)
    numbers = queued(side)
    assert told(side) == [(4, "")]
    side.submitter.cancel(found[2], force=False, recursive=True)
    side.now += EVERY_S
    assert told(side) == [(3, "")]
    for pending in found:
        side.submitter.cancel(pending, force=False, recursive=True)
    side.now += EVERY_S
    assert told(side) == [(0, "")]
    assert [m.request for m in side.take(leases.LeaseCancel)] == numbers


def test_the_reason_is_told_when_it_is_known(side: Side) -> None:
    side.submit(1)
    (number,) = queued(side)
    assert told(side) == [(1, "")]
    side.submitter.on_queued(leases.LeaseQueued(number, "no node has 8 GPU"))
    side.now += EVERY_S
    assert told(side) == [(1, "no node has 8 GPU")]
    refusal = leases.LeaseRefused(number, leases.UNSCHEDULABLE, "never")
    side.submitter.on_refused_lease(refusal)
    side.now += EVERY_S
    assert told(side) == [(0, "")]
