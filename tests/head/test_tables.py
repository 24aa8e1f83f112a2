"""What the head keeps of the past is bounded, and light."""

from __future__ import annotations

import pytest

from rayhpc.head import actor_table, groups, jobs
from rayhpc.wire.address import raylet_of
from rayhpc.wire.messages import actors, cluster, listings

from .fakes import World, amounts


def test_the_dead_are_light_and_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor_table, "DEAD_KEPT", 3)
    world = World()
    node = world.add_node(amounts(CPU=1))
    world.beat()
    driver = world.start_job(node)
    made = []
    for _ in range(5):
        made.append(world.create(driver))
        world.run(0.5)
        world.to_head(driver, actors.KillActor(made[-1]))
        world.run(0.5)
    rows = world.ask(node, cluster.ListActors(), list[actors.ActorRow])
    assert [row.spec.actor for row in rows] == made[2:]
    found = world.head.actors.table.get(made[2])
    assert found is not None
    assert (found.spec.args, found.spec.definition, found.spec.methods) == (b"", b"", b"")
    world.to_head(driver, actors.WatchActor(made[0]))
    world.run()
    assert "long ago" in world.last(driver, actors.ActorIs, made[0]).reason
    state = world.ask(node, cluster.ClusterUsage(), listings.ClusterState)
    assert state.actors == {"DEAD": 3}


def test_removed_groups_and_ended_jobs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "REMOVED_KEPT", 2)
    monkeypatch.setattr(jobs, "ENDED_KEPT", 2)
    world = World()
    node = world.add_node(amounts(CPU=1))
    world.beat()
    for number in range(1, 5):
        driver = world.start_job(node, number)
        node.say(cluster.GetJob(number))
        assert world.ask(node, cluster.JobRaylets(number), list[int]) == [raylet_of(node.number)]
        group = world.group(driver, [amounts(CPU=1)])
        world.run(0.5)
        world.to_head(driver, actors.RemoveGroup(group))
        node.say(cluster.ProcessDied(driver, "exit code 0", True))
        world.run(0.5)
    assert len(world.ask(node, cluster.ListGroups(), list[actors.GroupRow])) == 2
    numbers = [r.job.number for r in world.ask(node, cluster.ListJobs(), list[listings.JobRow])]
    assert numbers == [3, 4]
    assert world.ask(node, cluster.JobRaylets(1), list[int]) == []
    assert node.free == node.total
