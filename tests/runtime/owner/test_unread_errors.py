"""Errors that nobody has looked at are reported when their results are freed, and only then."""

from __future__ import annotations

import pytest

from rayhpc.runtime.owner import dependencies
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.values.errors import dump_error
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.messages import tasks
from tests.runtime.fakes import Side

WORKER = 1 << 32 | 5


class Reporting(Side):
    """A submitting process that keeps what is reported."""

    def __init__(self) -> None:
        super().__init__()
        self.reported: list[str] = []
        self.ownership.unread.report = lambda name, error: self.reported.append(name)


@pytest.fixture
def side() -> Reporting:
    return Reporting()


def failed(side: Reporting) -> Pending:
    """A task whose code has raised."""
    error = dump_error(ValueError("x"), function_name="f", pid=1, ip="", actor_repr=None)
    (pending,) = side.submit()
    side.results.take(WORKER, pending, tasks.Result(pending.tid, tasks.FAILED, [error]))
    return pending


def drop(side: Reporting, pending: Pending) -> None:
    """The user's last reference to the result goes."""
    side.ownership.events.append(pending.tid)
    side.ownership.settle()


def test_reported_when_it_is_freed(side: Reporting) -> None:
    pending = failed(side)
    assert side.reported == []
    drop(side, pending)
    assert side.reported == ["f"]
    assert not side.ownership.unread


def test_reported_where_the_reference_went_before_the_task_ended(side: Reporting) -> None:
    (pending,) = side.submit()
    drop(side, pending)
    side.results.fail(pending, b"the worker died", worker=WORKER)
    assert side.reported == ["f"]


def test_not_reported_when_it_has_travelled_or_failed_another_task(side: Reporting) -> None:
    sent, used = failed(side), failed(side)
    side.ownership.travelling_value(sent.tid)
    dependencies.described(side.ownership, [ObjectRef(used.tid, True)])
    drop(side, sent)
    drop(side, used)
    assert side.reported == []


def test_not_reported_when_it_was_cancelled_or_a_get_has_been_left(side: Reporting) -> None:
    cancelled, left = side.submit(2)
    cancelled.cancelled = left.awaited = True
    for pending in (cancelled, left):
        side.results.fail(pending, b"the worker died", worker=WORKER)
        drop(side, pending)
    assert side.reported == []
