"""What waits for arguments that are still to be made lends what it holds, and gets it back."""

from __future__ import annotations

from rayhpc.raylet.argument_loans import BACK_WITHIN_S
from rayhpc.wire.address import make_address
from rayhpc.wire.messages import actors, leases
from rayhpc.wire.messages.common import Grant, Strategy
from tests.raylet.doubles import NODE, Node, actor_spec, job, units, wanted

OTHER = make_address(NODE, 101)
LOST = b"o" * 28


def node(gpus: int = 0, **amounts: int) -> Node:
    made = Node(gpus=gpus, **amounts)
    made.jobs.add(job())
    made.to_be_made.add(LOST)
    return made


def granted(n: Node, number: int, what: object, client: int = OTHER) -> Grant:
    n.request(number, what, client=client)  # type: ignore[arg-type]
    n.boot()
    n.settle()
    (found,) = n.granted(client)
    return found.grant


def lend(n: Node, worker: int, lease: int) -> None:
    n.loans.on_missing(worker, leases.ArgumentsMissing(lease, [b"here" * 7, LOST]))
    n.settle()


def answers(n: Node) -> list[leases.MayStart]:
    return n.take(leases.MayStart)


def test_a_task_gets_back_what_it_lent_on_another_gpu() -> None:
    n = node(gpus=2, CPU=4, x=1)
    what = wanted(CPU=1, GPU=1, x=1)
    first = granted(n, 1, what)
    assert first.devices == {"GPU": ["0"]}
    lend(n, OTHER, first.lease)
    assert n.pool.free == n.pool.total
    maker = granted(n, 2, what)
    assert maker.devices == {"GPU": ["0"]}
    n.loans.on_here(OTHER, leases.ArgumentsHere(first.lease))
    assert answers(n) == []
    n.leases.on_return(leases.LeaseReturn(maker.lease))
    late = granted(n, 3, wanted(GPU=1))
    n.settle()
    (answer,) = answers(n)
    assert answer.granted
    assert {*answer.devices["GPU"], *late.devices["GPU"]} == {"0", "1"}
    n.leases.on_return(leases.LeaseReturn(late.lease))
    n.leases.on_return(leases.LeaseReturn(first.lease))
    assert n.pool.free == n.pool.total
    assert n.pool.gpus == {"0": 10000, "1": 10000}


def test_nothing_is_lent_for_what_is_on_its_way() -> None:
    n = node(CPU=1, x=1)
    lease = granted(n, 1, wanted(CPU=1, x=1)).lease
    n.to_be_made.clear()
    lend(n, OTHER, lease)
    assert n.pool.free == units(CPU=0, x=0)
    n.loans.on_here(OTHER, leases.ArgumentsHere(lease))
    assert answers(n) == [leases.MayStart(lease, {})]


def test_what_others_keep_is_not_waited_for() -> None:
    n = node(CPU=2, x=1)
    first = granted(n, 1, wanted(CPU=1, x=1))
    lend(n, OTHER, first.lease)
    n.actors.on_start(actors.StartActor(actor_spec(placing=wanted(x=1), holding=units(x=1)), 0))
    n.boot()
    n.loans.on_here(OTHER, leases.ArgumentsHere(first.lease))
    n.pass_time(BACK_WITHIN_S + 0.1)
    assert answers(n) == [leases.MayStart(first.lease, {}, granted=False)]
    n.leases.on_revoked(leases.Revoked(first.lease))
    assert n.pool.free == units(CPU=2, x=0)


def test_what_was_lent_comes_back_before_more_work_of_the_same_kind() -> None:
    n = node(CPU=2, x=1)
    first = granted(n, 1, wanted(CPU=1, x=1))
    lend(n, OTHER, first.lease)
    maker = granted(n, 2, wanted(CPU=1, x=1))
    n.pass_time(0.1)
    n.loans.on_here(OTHER, leases.ArgumentsHere(first.lease))
    assert [m.lease for m in n.take(leases.Revoke)] == [maker.lease]
    n.request(3, wanted(CPU=1, x=1), client=OTHER)
    n.leases.on_revoked(leases.Revoked(maker.lease))
    n.settle()
    assert [m.granted for m in answers(n)] == [True]


def test_a_lease_that_ends_while_all_is_lent_leaves_nothing() -> None:
    n = node(CPU=1, x=1)
    what = wanted(CPU=1, x=1)
    first = granted(n, 1, what)
    lend(n, OTHER, first.lease)
    maker = granted(n, 2, what)
    n.loans.on_here(OTHER, leases.ArgumentsHere(first.lease))
    n.leases.on_return(leases.LeaseReturn(first.lease))
    n.leases.on_return(leases.LeaseReturn(maker.lease))
    n.settle()
    assert answers(n) == []
    assert n.pool.free == n.pool.total


def test_a_bundle_is_lent_within_its_group_only() -> None:
    n = node(CPU=2, x=1)
    group = b"g" * 16
    assert n.bundles.set_aside(group, {0: units(CPU=1, x=1)})
    inside = Strategy("group", group=group, bundle=0)
    first = granted(n, 1, wanted(inside, CPU=1, x=1))
    lend(n, OTHER, first.lease)
    assert n.pool.free == units(CPU=1, x=0)
    maker = granted(n, 2, wanted(inside, CPU=1, x=1))
    n.leases.on_return(leases.LeaseReturn(maker.lease))
    n.loans.on_here(OTHER, leases.ArgumentsHere(first.lease))
    assert [m.granted for m in answers(n)] == [True]


def test_an_actor_that_cannot_have_it_back_is_placed_again() -> None:
    n = node(CPU=2, x=1)
    spec = actor_spec(placing=wanted(CPU=1, x=1), holding=units(x=1))
    n.actors.on_start(actors.StartActor(spec, 0))
    n.boot()
    (construct,) = n.take(actors.Construct)
    worker = next(x for x in n.workers.by_address.values() if x.actor == spec.actor)
    lend(n, worker.address, construct.lease)
    maker = granted(n, 1, wanted(CPU=1, x=1))
    n.loans.on_here(worker.address, leases.ArgumentsHere(construct.lease))
    n.pass_time(BACK_WITHIN_S + 0.1)
    assert [m.status for m in n.take(actors.ActorStarted)] == ["busy"]
    assert n.killed == [worker.number]
    n.die(worker)
    assert n.take(actors.ActorEnded) == []
    n.leases.on_return(leases.LeaseReturn(maker.lease))
    assert n.pool.free == n.pool.total
