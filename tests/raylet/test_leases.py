"""Leases: grants, fairness, revocation, blocking, deaths; the node's resources always add up."""

from __future__ import annotations

import random

import pytest

from rayhpc.raylet.orphans import GRACE_S
from rayhpc.wire.address import make_address
from rayhpc.wire.messages import cluster, leases
from rayhpc.wire.messages.common import UNIT, Strategy
from tests.raylet.doubles import DRIVER, JOB, NODE, Node, job, wanted

OTHER = make_address(NODE, 101)
FAR = make_address(2, 5)


def node(**more: float) -> Node:
    made = Node(**(more or {"CPU": 2}))
    made.jobs.add(job())
    return made


def test_a_request_gets_a_worker_that_knows_its_job_first() -> None:
    n = node()
    n.request(1)
    assert not n.granted()
    (worker,) = n.boot()
    messages = [m for _, m in n.sent]
    kinds = [type(m) for m in messages]
    assert kinds.index(leases.AssignJob) < kinds.index(leases.LeaseGranted)
    (grant,) = n.granted()
    assert grant.worker == worker.address
    assert grant.grant.job == JOB
    assert n.pool.free["CPU"] == UNIT


def test_a_returned_worker_is_used_again() -> None:
    n = node()
    n.request(1)
    n.boot()
    first = n.granted()[0]
    n.leases.on_return(leases.LeaseReturn(first.grant.lease))
    assert n.pool.free == n.pool.total
    n.request(2)
    second = n.granted()[0]
    assert second.worker == first.worker
    assert second.grant.lease > first.grant.lease
    assert not n.spawned


def test_who_waits_is_told_and_served_in_turn() -> None:
    n = node(CPU=1)
    n.request(1)
    n.boot()
    held = n.granted()[0]
    n.request(2, client=OTHER)
    assert [m.text for m in n.take(leases.LeaseQueued)] == [""]
    n.leases.on_return(leases.LeaseReturn(held.grant.lease))
    n.settle()
    assert [g.request for g in n.granted(OTHER)] == [2]


def test_the_one_who_holds_least_comes_first() -> None:
    n = node(CPU=3)
    for number in range(1, 4):
        n.request(number)
    n.boot()
    held = n.granted()
    n.request(4)
    n.request(5, client=OTHER)
    n.leases.on_return(leases.LeaseReturn(held[0].grant.lease))
    n.settle()
    assert [g.request for g in n.granted()] == [5]


def test_a_lease_is_revoked_for_others_but_not_before_20_ms() -> None:
    n = node(CPU=2)
    n.request(1)
    n.request(2)
    n.boot()
    first, second = n.granted()
    n.request(3, client=OTHER)
    n.pass_time(0.015)
    assert n.take(leases.Revoke) == []
    n.pass_time(0.006)
    revoked = n.take(leases.Revoke)
    assert [m.lease for m in revoked] == [first.grant.lease]
    n.leases.on_revoked(leases.Revoked(first.grant.lease))
    n.settle()
    (grant,) = n.granted(OTHER)
    assert grant.worker == first.worker
    # One each now: nothing more is taken back.
    n.pass_time(1.0)
    assert n.take(leases.Revoke) == []
    assert second.worker != first.worker


def test_nothing_is_revoked_while_nobody_waits_or_for_its_own_holder() -> None:
    n = node(CPU=1)
    n.request(1)
    n.boot()
    n.granted()
    n.pass_time(1.0)
    n.request(2)
    n.pass_time(1.0)
    assert n.take(leases.Revoke) == []


def test_another_class_of_the_same_submitter_gets_its_turn() -> None:
    n = node(CPU=1)
    n.request(1)
    n.boot()
    n.granted()
    n.request(2, wanted(CPU=1, memory=0))
    n.pass_time(0.03)
    assert len(n.take(leases.Revoke)) == 1


def test_a_revoked_worker_that_does_not_come_back_is_not_waited_for_alone() -> None:
    n = node(CPU=2)
    n.request(1)
    n.request(2)
    n.boot()
    n.granted()
    n.request(3, client=OTHER)
    n.pass_time(0.03)
    assert len(n.take(leases.Revoke)) == 1
    n.pass_time(0.05)
    assert n.take(leases.Revoke) == []
    n.pass_time(0.1)
    assert len(n.take(leases.Revoke)) == 1


def test_as_many_are_revoked_as_a_large_request_needs() -> None:
    n = node(CPU=4)
    for number in range(1, 5):
        n.request(number)
    n.boot()
    n.granted()
    n.request(9, wanted(CPU=3), client=OTHER)
    n.pass_time(0.03)
    revoked = n.take(leases.Revoke)
    assert len(revoked) == 3
    for message in revoked:
        n.leases.on_revoked(leases.Revoked(message.lease))
        n.settle()
    assert n.pool.free["CPU"] == 0


def test_a_starving_large_request_is_not_overtaken_for_ever() -> None:
    n = node(CPU=2)
    third = make_address(NODE, 102)
    n.request(1)
    n.request(2, client=OTHER)
    n.boot()
    one, two = n.granted()
    n.request(3, wanted(CPU=2), client=third)
    n.pass_time(0.6)
    n.leases.on_revoked(leases.Revoked(one.grant.lease))
    n.request(4)
    n.settle()
    assert n.pool.free["CPU"] == UNIT  # kept for the third
    n.leases.on_revoked(leases.Revoked(two.grant.lease))
    n.settle()
    assert n.pool.free["CPU"] == 0
    n.boot()
    assert [g.request for g in n.granted(third)] == [3]


def test_a_return_during_a_revocation_waits_for_the_worker() -> None:
    n = node(CPU=1)
    n.request(1)
    n.boot()
    held = n.granted()[0]
    n.request(2, client=OTHER)
    n.pass_time(0.03)
    n.leases.on_return(leases.LeaseReturn(held.grant.lease))
    n.settle()
    assert n.granted(OTHER) == []
    n.leases.on_revoked(leases.Revoked(held.grant.lease))
    n.settle()
    assert [g.request for g in n.granted(OTHER)] == [2]


def test_recursion_finishes_on_one_cpu() -> None:
    n = node(CPU=1)
    n.request(1)
    n.boot()
    grant = n.granted()[0]
    depth = []
    for number in range(2, 20):
        parent = n.worker(grant)
        allocation = n.leases.allocation_of(parent.lease)
        assert allocation is not None
        n.request(number, client=parent.address)
        n.leases.on_blocked(allocation)
        n.settle()
        n.boot()
        (grant,) = n.granted(parent.address)
        depth.append((parent, allocation))
    n.leases.on_return(leases.LeaseReturn(grant.grant.lease))
    for parent, allocation in reversed(depth):
        n.leases.on_unblocked(allocation)
        assert n.pool.free["CPU"] == 0
        n.leases.on_return(leases.LeaseReturn(parent.lease))
    assert n.pool.free == n.pool.total


def test_nothing_starts_while_more_cpus_are_used_than_there_are() -> None:
    n = node(CPU=1)
    n.request(1)
    n.boot()
    first = n.granted()[0]
    allocation = n.leases.allocation_of(first.grant.lease)
    assert allocation is not None
    n.leases.on_blocked(allocation)
    n.request(2, client=OTHER)
    n.boot()
    second = n.granted(OTHER)[0]
    n.leases.on_unblocked(allocation)
    n.leases.on_return(leases.LeaseReturn(second.grant.lease))
    n.request(3, client=OTHER)
    assert n.granted(OTHER) == []
    n.leases.on_return(leases.LeaseReturn(first.grant.lease))
    n.settle()
    assert len(n.granted(OTHER)) == 1


def test_a_dead_worker_breaks_its_lease_and_says_what_had_started() -> None:
    n = node()
    n.request(1)
    n.boot()
    grant = n.granted()[0]
    n.die(n.worker(grant), "it was killed", started=b"t" * 16)
    (broken,) = n.take(leases.LeaseBroken, DRIVER)
    assert (broken.lease, broken.worker) == (grant.grant.lease, grant.worker)
    assert (broken.started, broken.reason) == (b"t" * 16, "it was killed")
    assert n.pool.free == n.pool.total


def test_a_worker_that_dies_after_a_revocation_breaks_the_lease_it_gave_back_too() -> None:
    """What it told its earlier submitter went another way than `Revoked`, and may be lost."""
    n = node(CPU=1)
    n.request(1)
    n.boot()
    (first,) = n.granted()
    n.request(2, client=OTHER)
    n.pass_time(0.03)
    n.leases.on_revoked(leases.Revoked(first.grant.lease), b"a" * 16)
    n.settle()
    (second,) = n.granted(OTHER)
    n.die(n.worker(second), "it was killed", started=b"b" * 16)
    (earlier,) = n.take(leases.LeaseBroken, DRIVER)
    (broken,) = n.take(leases.LeaseBroken, OTHER)
    assert (earlier.lease, earlier.started) == (first.grant.lease, b"a" * 16)
    assert (broken.lease, broken.started) == (second.grant.lease, b"b" * 16)
    assert n.leases._taken_back == {}


def test_a_dead_submitter_frees_everything_and_ends_its_workers() -> None:
    n = node()
    for number in range(1, 5):
        n.request(number)
    n.boot()
    grants = n.granted()
    n.leases.on_client_gone(DRIVER, "killed")
    assert len(n.killed) == 2
    assert n.leases.waiting() == 0
    for grant in grants:
        n.die(n.worker(grant))
    assert n.take(leases.LeaseBroken) == []
    assert n.pool.free == n.pool.total


def test_workers_of_a_dead_submitter_whose_job_goes_on_may_say_what_they_ran() -> None:
    n = node()
    n.request(1, client=OTHER)
    n.request(2, client=OTHER)
    n.boot()
    quick, deaf = [n.worker(grant) for grant in n.granted(OTHER)]
    n.leases.on_client_gone(OTHER, "killed", at_once=False)
    assert [m.lease for m in n.take(leases.SubmitterGone)] == [quick.lease, deaf.lease]
    n.die(quick)
    assert n.killed == []
    n.pass_time(GRACE_S + 0.01)
    assert n.killed == [deaf.number]
    n.die(deaf)
    assert n.take(leases.LeaseBroken) == []
    assert n.pool.free == n.pool.total


def test_a_dead_node_is_the_death_of_its_submitters() -> None:
    n = node()
    n.join(2)
    n.request(1, client=FAR, hops=1)
    n.boot()
    (grant,) = n.granted(FAR)
    assert FAR in n.watched
    n.leases.on_node_gone(2, "silent")
    assert n.killed == [n.worker(grant).number]


def test_forced_cancellation_kills_the_worker() -> None:
    n = node()
    n.request(1)
    n.boot()
    grant = n.granted()[0]
    n.leases.on_return(leases.LeaseReturn(grant.grant.lease, kill=True))
    assert n.killed == [n.worker(grant).number]
    n.die(n.worker(grant))
    assert len(n.take(leases.LeaseBroken)) == 1


def test_cancelled_requests_leave_nothing() -> None:
    n = node(CPU=1)
    n.request(1)  # waits for a worker
    n.request(2)  # waits for resources
    n.leases.on_cancel(leases.LeaseCancel(1, DRIVER))
    n.leases.on_cancel(leases.LeaseCancel(2, DRIVER))
    n.boot()
    assert n.granted() == []
    assert n.pool.free == n.pool.total


def test_workers_are_started_ahead_for_a_backlog() -> None:
    n = node(CPU=4)
    n.request(1, backlog=100)
    assert len(n.spawned) == 4


def test_redirects_where_there_is_room_and_only_once() -> None:
    n = node(CPU=1)
    n.join(2, CPU=1)
    n.request(1)
    n.boot()
    n.granted()
    n.request(2)
    assert [m.node for m in n.take(leases.LeaseRedirect)] == [2]
    n.request(3)  # the other node has been promised away
    assert n.take(leases.LeaseRedirect) == []
    n.request(4, client=FAR, hops=1)
    assert n.take(leases.LeaseRedirect) == []


def test_what_waits_goes_where_room_has_appeared() -> None:
    n = node(CPU=1)
    n.join(2, CPU=1)
    n.report(2, 1, CPU=0)
    n.request(1)
    n.boot()
    n.granted()
    n.request(2)
    n.report(2, 2, CPU=1)
    assert [(m.request, m.node) for m in n.take(leases.LeaseRedirect)] == [(2, 2)]
    assert n.leases.waiting() == 0


def test_an_impossible_demand_is_named_within_a_second_and_served_once_possible() -> None:
    n = node(CPU=2)
    n.request(1, wanted(CPU=3))
    assert [m.text for m in n.take(leases.LeaseQueued)] == [""]
    deadline = n.leases.deadline()
    assert deadline is not None
    assert deadline - n.time < 1.0
    n.pass_time(0.6)
    (queued,) = n.take(leases.LeaseQueued)
    assert "3 CPU fits no node" in queued.text
    n.join(2, CPU=4)
    n.leases.on_view_changed()
    assert [m.node for m in n.take(leases.LeaseRedirect)] == [2]


def test_hard_affinity_to_nobody_is_refused() -> None:
    n = node()
    n.request(1, wanted(Strategy("node", node="ab" * 28)))
    (refused,) = n.take(leases.LeaseRefused)
    assert refused.kind == leases.UNSCHEDULABLE


def test_a_failed_environment_refuses_the_request_and_frees_its_resources() -> None:
    n = node()
    n.request(1, wanted(environment=b'{"working_dir": "/no/such/folder"}'))
    (refused,) = n.take(leases.LeaseRefused)
    assert refused.kind == leases.ENVIRONMENT
    assert "/no/such/folder" in refused.text
    assert n.pool.free == n.pool.total


def test_draining_sends_everything_away() -> None:
    n = node(CPU=1)
    n.request(1)
    n.boot()
    held = n.granted()[0]
    n.request(2)
    n.leases.drain()
    (refused,) = n.take(leases.LeaseRefused)
    assert refused.kind == leases.OUT_OF_SERVICE
    n.join(2, CPU=1)
    n.request(3)
    assert [m.node for m in n.take(leases.LeaseRedirect)] == [2]
    n.leases.on_return(leases.LeaseReturn(held.grant.lease))
    assert n.leases.active() == 0


# -- everything at once ---------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(40))
def test_random_lives_add_up(seed: int) -> None:
    """Whatever happens in whatever order, what is free plus what is held is all there is."""
    rng = random.Random(seed)
    n = node(CPU=3)
    clients = [DRIVER, OTHER, FAR]
    n.join(2, CPU=2)
    held: dict[int, leases.LeaseGranted] = {}
    owner: dict[int, int] = {}
    blocked: set[int] = set()
    for step in range(300):
        n.time += rng.random() * 0.02
        action = rng.random()
        client = rng.choice(clients)
        if action < 0.35:
            n.request(step, wanted(CPU=rng.choice([0.5, 1, 2])), client, rng.randint(1, 5), 1)
        elif action < 0.45:
            n.leases.on_cancel(leases.LeaseCancel(rng.randint(0, step), client))
        elif held and action < 0.6:
            number = rng.choice(list(held))
            allocation = n.leases.allocation_of(number)
            if allocation is not None and number not in blocked:
                blocked.add(number)
                n.leases.on_blocked(allocation)
            elif allocation is not None:
                blocked.discard(number)
                n.leases.on_unblocked(allocation)
        elif held and action < 0.85:
            number = rng.choice(list(held))
            n.leases.on_return(leases.LeaseReturn(number))
            held.pop(number)
        elif held and action < 0.9:
            worker = n.workers.by_address.get(held.pop(rng.choice(list(held))).worker)
            if worker is not None:
                n.die(worker)
        n.boot()
        n.dispatch.run()
        for _, message in n.sent:
            if isinstance(message, leases.LeaseGranted):
                held[message.grant.lease] = message
                owner[message.grant.lease] = message.request
            elif isinstance(message, leases.Revoke):
                n.leases.on_revoked(leases.Revoked(message.lease))
                held.pop(message.lease, None)
        n.sent.clear()
    for client in clients:
        n.leases.on_client_gone(client, "the end")
    for worker in list(n.workers.by_address.values()):
        n.die(worker)
    assert n.leases.active() == 0
    assert n.leases.waiting() == 0
    assert n.pool.free == n.pool.total


def test_an_unknown_job_is_asked_for() -> None:
    n = Node(CPU=1)
    n.request(1)
    assert [m.number for m in n.take(cluster.GetJob)] == [JOB]
    assert not n.spawned
    n.jobs.add(job())
    n.workers.advance()
    n.boot()
    assert len(n.granted()) == 1
