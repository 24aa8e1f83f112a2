"""A kill that is there before the actor is registered: the actor is never started."""

from __future__ import annotations

import pytest

from rayhpc.head import actors as head_actors
from rayhpc.wire.address import Address
from rayhpc.wire.messages import actors, cluster
from rayhpc.wire.messages.actors import ALIVE, DEAD

from .fakes import FakeRaylet, World, actor_spec, amounts


def cluster_of_two() -> tuple[World, FakeRaylet, FakeRaylet, Address]:
    world = World()
    here, there = (world.add_node(amounts(CPU=4)) for _ in range(2))
    world.beat()
    driver = world.start_job(here)
    world.run(0.5)
    return world, here, there, driver


def register(world: World, owner: Address, actor: bytes, **options: object) -> None:
    world.to_head(owner, actors.CreateActor(7, actor_spec(actor, owner, **options)))


@pytest.mark.parametrize("options", [{}, {"max_restarts": -1}, {"detached": True}])
def test_an_actor_killed_before_it_is_registered_never_runs(options: dict[str, object]) -> None:
    world, here, there, driver = cluster_of_two()
    actor = world.new_id(driver)
    other = world.process(there)
    world.to_head(other, actors.WatchActor(actor))
    world.run(0.1)
    world.to_head(other, actors.KillActor(actor))
    world.run(0.1)
    assert world.last(other, actors.ActorIs, actor).state == DEAD
    late = world.process(there)
    world.to_head(late, actors.WatchActor(actor))
    world.run(0.1)
    assert world.last(late, actors.ActorIs, actor).state == DEAD
    register(world, driver, actor, name="n", namespace="ns", **options)
    world.to_head(driver, actors.WatchActor(actor))
    world.run()
    assert world.last(driver, actors.ActorCreated).error == ""
    is_now = world.last(driver, actors.ActorIs, actor)
    assert (is_now.state, is_now.reason) == (DEAD, "it was killed by `ray.kill`")
    assert not any(isinstance(m, actors.StartActor) for n in (here, there) for m in n.seen)
    # Its name is free for another.
    second = world.create(driver, name="n", namespace="ns")
    world.run()
    assert world.state(second) == ALIVE
    assert world.head.actors._killed_early == {}


def test_only_a_kill_for_good_counts_before_there_is_anything_to_restart() -> None:
    world, _, there, driver = cluster_of_two()
    actor = world.new_id(driver)
    world.to_head(world.process(there), actors.KillActor(actor, no_restart=False))
    world.run(0.1)
    register(world, driver, actor, max_restarts=1)
    world.run()
    assert world.state(actor) == ALIVE


def test_what_is_never_registered_is_forgotten_with_its_owner() -> None:
    world, here, there, driver = cluster_of_two()
    other = world.process(there)
    creators = [world.process(here), world.process(there)]
    for creator in creators:
        world.to_head(other, actors.KillActor(world.new_id(creator)))
    world.run(0.1)
    assert len(world.head.actors._killed_early) == 2
    here.say(cluster.ProcessDied(creators[0], "signal 9", False))
    world.run(0.1)
    assert len(world.head.actors._killed_early) == 1
    world.kill_node(there)
    world.run(0.1)
    assert world.head.actors._killed_early == {}
    # Of an owner that is gone nothing can come any more.
    world.to_head(driver, actors.KillActor(world.new_id(creators[0])))
    world.run(0.1)
    assert world.head.actors._killed_early == {}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_actors, "KILLED_EARLY_MAX", 10)
    world, _, there, driver = cluster_of_two()
    other = world.process(there)
    killed = [world.new_id(driver) for _ in range(30)]
    for actor in killed:
        world.to_head(other, actors.KillActor(actor))
    world.run(0.5)
    assert list(world.head.actors._killed_early) == killed[-10:]
