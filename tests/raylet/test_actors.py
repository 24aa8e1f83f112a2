"""Actors of one node: placing and holding, ends of every kind, no room, groups."""

from __future__ import annotations

import math

from rayhpc.raylet.actors import END_WITHIN_S
from rayhpc.wire.address import HEAD
from rayhpc.wire.messages import actors, leases
from rayhpc.wire.messages.common import UNIT, Strategy
from tests.raylet.doubles import Node, actor_spec, job, units, wanted

ACTOR = b"a" * 16


def node(**more: int) -> Node:
    made = Node(**more)
    made.jobs.add(job())
    return made


def start(n: Node, incarnation: int = 0, **spec: object) -> None:
    n.actors.on_start(actors.StartActor(actor_spec(**spec), incarnation))  # type: ignore[arg-type]


def alive(n: Node, **spec: object) -> actors.Construct:
    start(n, **spec)
    n.boot()
    (construct,) = n.take(actors.Construct)
    worker = next(x for x in n.workers.by_address.values() if x.actor == construct.spec.actor)
    n.actors.on_constructed(worker.address, actors.Constructed(construct.spec.actor))
    return construct  # type: ignore[no-any-return]


def worker_of(n: Node, actor: bytes = ACTOR):  # type: ignore[no-untyped-def]
    return next(x for x in n.workers.by_address.values() if x.actor == actor)


def test_it_is_placed_with_one_cpu_and_holds_none() -> None:
    n = node(CPU=1)
    start(n)
    n.boot()
    assert n.pool.free["CPU"] == 0
    (construct,) = n.take(actors.Construct)
    worker = worker_of(n)
    n.actors.on_constructed(worker.address, actors.Constructed(construct.spec.actor))
    assert n.pool.free["CPU"] == UNIT
    (started,) = n.take(actors.ActorStarted, HEAD)
    assert (started.status, started.address) == ("ok", worker.address)


def test_it_holds_its_gpu_until_it_ends() -> None:
    n = node(CPU=1, gpus=2)
    what = units(GPU=1)
    construct = alive(n, holding=what, placing=wanted(CPU=1, GPU=1))
    assert construct.devices == {"GPU": ["0"]}
    assert n.pool.free == units(CPU=1, GPU=1)
    n.die(worker_of(n))
    assert n.pool.free == n.pool.total


def test_a_failed_constructor_is_told_once() -> None:
    n = node()
    start(n)
    n.boot()
    worker = worker_of(n)
    n.actors.on_constructed(worker.address, actors.Constructed(ACTOR, b"error"))
    (started,) = n.take(actors.ActorStarted)
    assert (started.status, started.error) == ("failed", b"error")
    n.die(worker, "it ended with exit code 1")
    assert n.take(actors.ActorEnded) == []
    assert n.pool.free == n.pool.total


def test_ends_intended_and_not() -> None:
    n = node()
    alive(n)
    n.die(worker_of(n), "it was killed")
    (ended,) = n.take(actors.ActorEnded)
    assert (ended.reason, ended.intended) == ("it was killed", False)
    alive(n)
    worker = worker_of(n)
    n.workers.on_leaving(worker.address, "exit_actor was called")
    n.die(worker, "it ended by itself")
    (ended,) = n.take(actors.ActorEnded)
    assert (ended.reason, ended.intended) == ("exit_actor was called", True)


def test_stopping_at_once_and_gracefully() -> None:
    n = node()
    alive(n)
    worker = worker_of(n)
    n.actors.on_stop(actors.StopActor(ACTOR, 0, True, "its last handle is gone"))
    assert len(n.take(actors.EndActor, worker.address)) == 1
    n.actors.on_stop(actors.StopActor(ACTOR, 0, False, "ray.kill"))
    assert n.killed == [worker.number]
    n.die(worker)
    (ended,) = n.take(actors.ActorEnded)
    assert (ended.reason, ended.intended) == ("ray.kill", True)
    n.actors.on_stop(actors.StopActor(ACTOR, 0, False, "again"))
    assert n.take(actors.ActorEnded) == []


def test_one_that_does_not_end_in_good_order_is_killed_after_a_while() -> None:
    n = node()
    alive(n)
    worker = worker_of(n)
    n.actors.on_stop(actors.StopActor(ACTOR, 0, True, "its last handle is gone"))
    assert n.actors.deadline() == n.time + END_WITHIN_S
    n.pass_time(END_WITHIN_S / 2)
    n.actors.on_stop(actors.StopActor(ACTOR, 0, True, "again: that gives it no more time"))
    n.pass_time(END_WITHIN_S / 2 - 0.01)
    assert n.killed == []
    n.pass_time(0.01)
    assert n.killed == [worker.number]
    n.die(worker)
    assert [x.intended for x in n.take(actors.ActorEnded)] == [True]
    assert n.actors.deadline() == math.inf


def test_stopping_before_there_is_a_worker() -> None:
    n = node()
    start(n)
    n.actors.on_stop(actors.StopActor(ACTOR, 0, False, "not wanted"))
    assert n.take(actors.ActorEnded)[0].intended
    assert n.pool.free == n.pool.total
    n.boot()
    assert n.take(actors.Construct) == []


def test_no_room_is_answered_and_meanwhile_leases_are_called_back() -> None:
    n = node(CPU=1)
    n.request(1)
    n.boot()
    held = n.granted()[0]
    start(n)
    n.pass_time(0.03)
    assert [m.lease for m in n.take(leases.Revoke)] == [held.grant.lease]
    n.pass_time(2.1)
    assert [m.status for m in n.take(actors.ActorStarted)] == ["busy"]
    start(n)
    n.leases.on_revoked(leases.Revoked(held.grant.lease))
    n.settle()
    n.boot()
    assert len(n.take(actors.Construct)) == 1


def test_a_missing_environment_is_told() -> None:
    n = node()
    start(n, placing=wanted(environment=b'{"working_dir": "/no/such"}'))
    (started,) = n.take(actors.ActorStarted)
    assert started.status == "environment"
    assert "/no/such" in started.reason
    assert n.pool.free == n.pool.total


def test_a_constructor_that_waits_lends_its_cpu() -> None:
    n = node(CPU=1)
    start(n)
    n.boot()
    allocation = n.actors.allocation_of(worker_of(n).lease)
    assert allocation is not None
    n.leases.on_blocked(allocation)
    start(n, actor=b"b" * 16)
    n.settle()
    n.boot()
    assert [m.spec.actor for m in n.take(actors.Construct)] == [ACTOR, b"b" * 16]


def test_an_actor_in_a_bundle_ends_with_its_group() -> None:
    n = node(CPU=1)
    group = b"g" * 16
    assert n.bundles.set_aside(group, {0: units(CPU=1)})
    strategy = Strategy("group", group=group, bundle=0)
    alive(n, placing=wanted(strategy), holding=units(CPU=1))
    n.actors.on_group_removed(group)
    n.bundles.give_back(group, [])
    assert n.killed == [worker_of(n).number]
    n.die(worker_of(n))
    assert n.take(actors.ActorEnded)[0].reason == "its placement group was removed"
    assert n.pool.free == n.pool.total
