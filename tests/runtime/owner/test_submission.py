"""The submitter's half of the fault protocol: who died, what had started, what runs again."""

from __future__ import annotations

import msgspec
import pytest

from rayhpc.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RaySystemError,
    TaskCancelledError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from rayhpc.runtime.owner.entries import ERROR
from rayhpc.runtime.owner.streams import Streams
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.errors import dump_error, load_error
from rayhpc.wire import limits
from rayhpc.wire.address import make_address, make_object_id, raylet_of
from rayhpc.wire.messages import leases, objects, tasks
from rayhpc.wire.messages.common import Stored
from tests.runtime.fakes import Side

WORKER, OTHER, FAR = make_address(1, 7), make_address(1, 8), make_address(2, 7)


@pytest.fixture
def side() -> Side:
    return Side()


def with_queue_at_worker(side: Side, tasks_there: int, retries: int = 0) -> list:
    """A lease whose worker has `tasks_there` short tasks, none answered."""
    (warm,) = side.submit()
    request, *_ = side.take(leases.LeaseRequest)
    side.grant(request.request, WORKER, 1)
    side.finish(WORKER, warm.tid, micros=1)
    side.take(tasks.Push)
    found = side.submit(tasks_there, retries)
    pushed = [t.tid for push in side.take(tasks.Push) for t in push.tasks]
    assert pushed == [p.tid for p in found]
    return found


def broken(lease: int, started: bytes, **more) -> leases.LeaseBroken:
    return leases.LeaseBroken(lease, WORKER, started, "killed by signal 9", **more)


def test_a_task_goes_to_the_granted_worker_with_its_definition_once(side: Side) -> None:
    first = side.submit(2)
    requests = side.take(leases.LeaseRequest)
    assert [r.wanted.resources for r in requests] == [{"CPU": 10_000}] * 2
    side.grant(requests[0].request, WORKER, 1)
    (push,) = side.take(tasks.Push)
    assert push.definitions == {b"f": b"code"}
    assert push.grant is not None
    side.finish(WORKER, first[0].tid)
    side.lose_patience()
    (again,) = side.take(tasks.Push)
    assert (again.definitions, again.grant) == ({}, None)
    side.finish(WORKER, first[1].tid)
    assert [side.outcome(p) for p in first] == [1, 1]


def test_one_crash_has_one_victim(side: Side) -> None:
    first, second, third, fourth = with_queue_at_worker(side, 4)
    answered = tasks.Result(first.tid, tasks.OK, [side_value()], 1)
    encoded = msgspec.msgpack.encode(answered)
    side.submitter.on_broken(broken(1, second.tid, unsent=[encoded]))
    side.submitter.advance()
    assert side.outcome(first) == 1
    assert isinstance(side.outcome(second), WorkerCrashedError)
    assert "killed by signal 9" in str(side.outcome(second))
    assert side.outcome(third) is None
    (request, *_) = side.take(leases.LeaseRequest)
    side.lose_patience()
    side.grant(request.request, OTHER, 2)
    again = [t for push in side.take(tasks.Push) for t in push.tasks]
    assert [t.tid for t in again] == [third.tid, fourth.tid]
    assert [t.attempt for t in again] == [0, 0]


def side_value() -> bytes:
    return serialization.to_inline(serialization.serialize(1))


def test_a_crash_before_anything_started_costs_no_retry(side: Side) -> None:
    found = with_queue_at_worker(side, 2)
    side.submitter.on_broken(broken(1, b""))
    assert [side.outcome(p) for p in found] == [None, None]


def test_the_victim_runs_again_while_it_has_retries(side: Side) -> None:
    (task,) = with_queue_at_worker(side, 1, retries=1)
    side.submitter.on_broken(broken(1, task.tid))
    side.submitter.advance()
    request, *_ = side.take(leases.LeaseRequest)
    side.grant(request.request, WORKER, 2)
    (push,) = side.take(tasks.Push)
    assert push.tasks[0].attempt == 1
    assert push.definitions, "a new process knows no definitions"
    side.submitter.on_broken(broken(2, task.tid))
    assert isinstance(side.outcome(task), WorkerCrashedError)


def test_a_worker_ended_for_its_memory_is_named_so(side: Side) -> None:
    (task,) = with_queue_at_worker(side, 1)
    side.submitter.on_broken(broken(1, task.tid, memory=True))
    assert isinstance(side.outcome(task), OutOfMemoryError)


def test_a_dead_node_voids_leases_and_requests_there(side: Side) -> None:
    (task,) = side.submit()
    request, *_ = side.take(leases.LeaseRequest)
    side.submitter.on_redirect(leases.LeaseRedirect(request.request, 2))
    assert side.sent[-1][0] == raylet_of(2)
    side.take(leases.LeaseRequest)
    side.submitter.on_node_gone(2, "power loss")
    side.submitter.advance()
    request, *_ = side.take(leases.LeaseRequest)
    side.grant(request.request, FAR, 5)
    side.submitter.on_node_gone(2, "power loss")
    assert isinstance(side.outcome(task), NodeDiedError)


def test_what_a_blocked_worker_refuses_goes_elsewhere_first(side: Side) -> None:
    first, second, third = with_queue_at_worker(side, 3)
    refusal = tasks.Refused(1, [second.tid, third.tid], blocked=True)
    side.submitter.on_refused_tasks(WORKER, refusal)
    side.submitter.advance()
    assert side.take(tasks.Push) == []
    request, *_ = side.take(leases.LeaseRequest)
    side.lose_patience()
    side.grant(request.request, OTHER, 2)
    assert [t.tid for p in side.take(tasks.Push) for t in p.tasks] == [second.tid, third.tid]
    side.finish(WORKER, first.tid)
    assert side.outcome(first) == 1


def test_a_revoked_lease_is_used_no_more(side: Side) -> None:
    (only,) = with_queue_at_worker(side, 1)
    side.submitter.on_refused_tasks(WORKER, tasks.Refused(1, [only.tid], ended=True))
    side.submitter.advance()
    assert side.take(tasks.Push) == []
    assert side.take(leases.LeaseRequest)


def test_an_idle_lease_is_returned(side: Side) -> None:
    (task,) = with_queue_at_worker(side, 1)
    side.finish(WORKER, task.tid)
    deadline = side.submitter.deadline()
    assert deadline is not None
    side.now = deadline
    side.submitter.on_time()
    assert side.take(leases.LeaseReturn) == [leases.LeaseReturn(1)]


def test_a_grant_nobody_waits_for_is_returned(side: Side) -> None:
    side.grant(99, WORKER, 3)
    assert side.take(leases.LeaseReturn) == [leases.LeaseReturn(3)]


def test_a_queued_task_that_is_cancelled_never_starts(side: Side) -> None:
    (task,) = side.submit()
    request, *_ = side.take(leases.LeaseRequest)
    side.submitter.cancel(task, force=False, recursive=True)
    assert isinstance(side.outcome(task), TaskCancelledError)
    side.grant(request.request, WORKER, 1)
    assert side.take(tasks.Push) == []


def test_a_running_task_is_cancelled_by_message_or_with_force_by_its_end(side: Side) -> None:
    first, second = with_queue_at_worker(side, 2)
    side.submitter.cancel(first, force=False, recursive=True)
    assert side.take(tasks.Cancel) == [tasks.Cancel(first.tid, True)]
    side.submitter.cancel(second, force=True, recursive=True)
    # It may wait behind others, which must not end with it.
    wanted = [leases.LeaseReturn(1, kill=True, task=second.tid)]
    assert side.take(leases.LeaseReturn) == wanted
    assert side.take(tasks.Cancel) == [tasks.Cancel(second.tid, True)]


def test_a_demand_no_node_can_meet_warns_and_a_refusal_fails(side: Side) -> None:
    (task,) = side.submit()
    request, *_ = side.take(leases.LeaseRequest)
    text = "no node has 64 CPUs; the largest has 2"
    side.submitter.on_queued(leases.LeaseQueued(request.request, text))
    assert side.warnings == [text]
    assert side.submitter.pending_reasons() == [text]
    refusal = leases.LeaseRefused(request.request, leases.UNSCHEDULABLE, "the node is gone")
    side.submitter.on_refused_lease(refusal)
    assert isinstance(side.outcome(task), TaskUnschedulableError)


def test_results_of_an_earlier_lease_of_the_same_worker_still_count(side: Side) -> None:
    first, second = with_queue_at_worker(side, 2)
    # It waits for others and is taken back: what was queued behind it wants another worker,
    side.submitter.on_refused_tasks(WORKER, tasks.Refused(1, [second.tid], blocked=True))
    side.submitter.advance()
    request = side.take(leases.LeaseRequest)[-1]
    # and gets the same one before the first result, which comes another way, is here.
    side.grant(request.request, WORKER, 2)
    side.finish(WORKER, first.tid)
    assert side.outcome(first) == 1
    assert [t.tid for push in side.take(tasks.Push) for t in push.tasks] == [second.tid]
    side.finish(WORKER, second.tid)
    assert side.outcome(second) == 1


def test_what_had_started_is_judged_before_the_journal_is_taken(side: Side) -> None:
    first, second, third = with_queue_at_worker(side, 3)
    value = serialization.to_inline(serialization.serialize(2))
    # The result of the first was sent and got lost; that of the second is in the journal.
    unsent = [msgspec.msgpack.encode(tasks.Result(second.tid, tasks.OK, [value]))]
    side.submitter.on_broken(leases.LeaseBroken(1, WORKER, second.tid, "killed", unsent=unsent))
    side.submitter.advance()
    assert isinstance(side.outcome(first), WorkerCrashedError)
    assert side.outcome(second) == 2
    assert side.outcome(third) is None


def test_what_a_dead_worker_did_for_another_is_not_touched(side: Side) -> None:
    (task,) = with_queue_at_worker(side, 1)
    theirs = tasks.Result(make_object_id(OTHER, 1), tasks.OK, [Stored(10, 1)], inner=[[b"x" * 16]])
    side.submitter.on_broken(broken(1, task.tid, unsent=[msgspec.msgpack.encode(theirs)]))
    assert side.take(objects.Free) == []
    assert side.take(tasks.Adopted) == []
    assert isinstance(side.outcome(task), WorkerCrashedError)


def with_arguments(side: Side, count: int, size: int) -> list:
    """Tasks with so many bytes of arguments each."""
    found = side.submit(count)
    for pending in found:
        pending.args, pending.size = bytes(size), size
    return found


def test_a_push_is_cut_at_a_mebibyte(side: Side) -> None:
    (warm,) = side.submit()
    request, *_ = side.take(leases.LeaseRequest)
    side.grant(request.request, WORKER, 1)
    side.finish(WORKER, warm.tid, micros=1)
    side.take(tasks.Push)
    side.submitter.on_refused_tasks(WORKER, tasks.Refused(1, [], blocked=True))
    some = with_arguments(side, 30, 100_000)
    side.finish(WORKER)
    (lease,) = side.submitter._by_worker[WORKER]
    lease.blocked = False
    side.lose_patience()
    pushes = side.take(tasks.Push)
    assert [len(x.tasks) for x in pushes] == [10, 10, 10]
    assert [t.tid for x in pushes for t in x.tasks] == [p.tid for p in some]


def test_a_worker_has_a_bounded_number_of_bytes_and_gets_more_with_each_result(
    side: Side,
) -> None:
    (warm,) = side.submit()
    request, *_ = side.take(leases.LeaseRequest)
    side.grant(request.request, WORKER, 1)
    side.finish(WORKER, warm.tid, micros=1)
    (lease,) = side.submitter._by_worker[WORKER]
    lease.blocked = True
    some = with_arguments(side, 100, 100_000)
    lease.blocked = False
    side.take(tasks.Push)
    side.lose_patience()
    there = [t.tid for x in side.take(tasks.Push) for t in x.tasks]
    assert len(there) == -(-limits.LEASE_BYTES // 100_000)
    assert lease.bytes == 100_000 * len(there)
    while there:
        side.finish(WORKER, there.pop(0), micros=1)
        there += [t.tid for x in side.take(tasks.Push) for t in x.tasks]
        assert lease.bytes == 100_000 * len(there) <= limits.LEASE_BYTES + 100_000
    assert [side.outcome(p) for p in some] == [1] * 100


def test_what_cannot_be_sent_fails_and_the_lease_goes_on(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = side.submit(1)
    request, *_ = side.take(leases.LeaseRequest)
    send = side.submitter._send

    def refuse(destination: int, message: msgspec.Struct) -> None:
        if isinstance(message, tasks.Push):
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        send(destination, message)

    monkeypatch.setattr(side.submitter, "_send", refuse)
    side.grant(request.request, WORKER, 1)
    error = side.outcome(first)
    assert isinstance(error, RaySystemError)
    assert "cannot be sent" in str(error)
    monkeypatch.setattr(side.submitter, "_send", send)
    (second,) = side.submit(1)
    side.lose_patience()
    (push,) = side.take(tasks.Push)
    assert (push.definitions, push.grant is None) == ({b"f": b"code"}, False)
    side.finish(WORKER, second.tid)
    assert side.outcome(second) == 1


@pytest.mark.parametrize(("retries", "received"), [(1, 0), (0, 0), (0, 2)])
def test_a_generator_whose_last_items_went_with_its_worker_has_not_ended_well(
    side: Side, retries: int, received: int
) -> None:
    streams = Streams(side.ownership, side.results, side._send)
    (pending,) = side.submit(1, retries=retries)
    pending.returns = tasks.STREAMING
    stream = pending.stream = streams.open(pending.tid, -1, pending)
    (request,) = side.take(leases.LeaseRequest)
    side.grant(request.request, WORKER, 1)
    for index in range(received):
        streams.on_item(WORKER, tasks.StreamItem(pending.tid, index, side_value(), [], 0))
    # The journal has the end of it, after two items.
    end = tasks.Result(pending.tid, tasks.OK, [msgspec.msgpack.encode(2)], 1)
    side.submitter.on_broken(broken(1, pending.tid, unsent=[msgspec.msgpack.encode(end)]))
    side.submitter.advance()
    assert stream.is_over() == (retries == 0)
    if received == 2:
        assert [load_error_or_none(side, x) for x in stream.item_ids()] == [None, None]
    elif not retries:
        assert isinstance(load_error_or_none(side, stream.item_ids()[-1]), WorkerCrashedError)


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("came", [0, 1, 2])
def test_a_generator_that_raised_and_died_runs_again_if_items_are_missing(
    side: Side, came: int, retries: int
) -> None:
    streams = Streams(side.ownership, side.results, side._send)
    (pending,) = side.submit(1, retries=retries)
    pending.returns = tasks.STREAMING
    stream = pending.stream = streams.open(pending.tid, -1, pending)
    (request,) = side.take(leases.LeaseRequest)
    side.grant(request.request, WORKER, 1)
    for i in range(came):
        streams.on_item(WORKER, tasks.StreamItem(pending.tid, i, b"item"))
    error = dump_error(KeyError("k"), function_name="f", pid=7, ip="10.0.0.1", actor_repr=None)
    end = tasks.Result(pending.tid, tasks.FAILED, [msgspec.msgpack.encode(2), error], 1)
    side.submitter.on_broken(broken(1, pending.tid, unsent=[msgspec.msgpack.encode(end)]))
    side.submitter.advance()
    is_whole = came == 2
    assert stream.is_over() == (is_whole or not retries)
    if stream.is_over():
        last = load_error_or_none(side, stream.item_ids()[-1])
        assert isinstance(last, KeyError if is_whole else WorkerCrashedError)
        assert len(stream.item_ids()) == came + 1


def load_error_or_none(side: Side, oid: bytes) -> BaseException | None:
    entry = side.ownership.table[oid]
    return load_error(entry.value) if entry.state == ERROR else None
