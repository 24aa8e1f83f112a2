"""Definitions: workers are told of those that nobody needs any more, and of no others."""

from __future__ import annotations

import gc
import weakref

from rayhpc.runtime.owner.definitions import Definition, Definitions
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import make_address
from rayhpc.wire.messages import leases, tasks
from tests.runtime.fakes import CLASS, Side

ONE, OTHER = make_address(1, 1), make_address(2, 1)


def test_those_who_have_a_definition_are_told_when_it_has_gone() -> None:
    sent: list = []
    known = Definitions(lambda to, message: sent.append((to, message)))
    first, second = (known.the_one(Definition(x, b"code", [])) for x in (b"1", b"2"))
    for worker in (ONE, OTHER):
        known.sent_to(worker).add(first.id)
    known.sent_to(ONE).add(second.id)
    del first
    assert known.gone
    known.settle()
    assert sent == [(ONE, tasks.Forget([b"1"])), (OTHER, tasks.Forget([b"1"]))]
    assert known.sent_to(ONE) == {b"2"}
    assert not known.gone
    del second
    known.forget_worker(ONE)
    known.settle()
    assert len(sent) == 2
    assert len(known) == 0


def test_workers_are_told_whether_what_has_gone_held_references() -> None:
    sent: list = []
    known = Definitions(lambda to, message: sent.append((to, message)))
    plain = known.the_one(Definition(b"1", b"code", []))
    holding = known.the_one(Definition(b"2", b"code", [ObjectRef.from_random()]))
    known.sent_to(ONE).update((plain.id, holding.id))
    known.sent_to(OTHER).add(plain.id)
    del plain, holding
    known.settle()
    assert sent == [(ONE, tasks.Forget([b"1", b"2"], True)), (OTHER, tasks.Forget([b"1"], False))]


def test_the_same_definition_made_again_is_the_same_while_it_lives() -> None:
    sent: list = []
    known = Definitions(lambda to, message: sent.append((to, message)))
    first = known.the_one(Definition(b"1", b"code", []))
    assert known.the_one(Definition(b"1", b"code", [])) is first
    known.sent_to(ONE).add(b"1")
    del first
    # Made again before anybody was told: the worker has it still.
    again = known.the_one(Definition(b"1", b"code", []))
    known.settle()
    assert sent == []
    del again
    known.settle()
    assert sent == [(ONE, tasks.Forget([b"1"]))]


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
