"""Definitions: workers are told of those that nobody needs any more, and of no others."""

from __future__ import annotations

import gc
import weakref

from rayhpc.runtime.owner.definitions import Definition, Definitions
from rayhpc.wire.address import make_address
from rayhpc.wire.messages import leases, tasks
from tests.runtime.fakes import CLASS, Side

ONE, OTHER = make_address(1, 1), make_address(2, 1)


def made(key: bytes) -> Definition:
    return Definition(key, b"code", [])


def test_those_who_have_a_definition_are_told_when_it_has_gone() -> None:
    sent: list = []
    known = Definitions(lambda to, message: sent.append((to, message)))
    first, second = made(b"1"), made(b"2")
    for worker in (ONE, OTHER):
        known.note(worker, first)
    known.note(ONE, second)
    del first
    assert known.has_news()
    known.settle()
    assert sent == [(ONE, tasks.Forget([b"1"])), (OTHER, tasks.Forget([b"1"]))]
    assert known.sent_to(ONE) == {b"2"}
    assert not known.has_news()
    del second
    known.forget_worker(ONE)
    known.settle()
    assert len(sent) == 2


def test_the_same_definition_made_again_stays() -> None:
    sent: list = []
    known = Definitions(lambda to, message: sent.append((to, message)))
    first, again = made(b"1"), made(b"1")
    known.note(ONE, first)
    known.note(OTHER, again)
    del first
    known.settle()
    assert sent == []
    del again
    known.settle()
    assert [to for to, _ in sent] == [ONE, OTHER]


def test_a_class_that_nothing_uses_any_more_goes() -> None:
    side = Side()
    (task,) = side.submit()
    queue = weakref.ref(side.submitter.queue_for(CLASS))
    first, *others = side.take(leases.LeaseRequest)
    side.grant(first.request, ONE, 1)
    side.finish(ONE, task.tid)
    assert queue() is not None
    for request in others:
        side.submitter.on_refused_lease(
            leases.LeaseRefused(request.request, leases.OUT_OF_SERVICE, "")
        )
    side.now += 1.0
    side.submitter.on_time()
    side.submitter.advance()
    side.ownership.table.clear()
    del task
    gc.collect()
    assert queue() is None
    assert not side.submitter._queues
