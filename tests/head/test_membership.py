"""Who is in the cluster, and what everybody is told of it."""

from __future__ import annotations

import msgspec
import pytest

from rayhpc.head.membership import REJOIN_S, SILENT_S
from rayhpc.wire.messages import cluster, leases, listings
from rayhpc.wire.messages.common import JobConfig

from .fakes import FACTS, FakeRaylet, World, amounts, node_info


def register(world: World, **changes: object) -> cluster.Registered | cluster.RegistrationRefused:
    message = cluster.RegisterNode(
        FACTS.cluster_id,
        cluster.PROTOCOL,
        FACTS.python,
        FACTS.version,
        node_info("new", amounts(CPU=1)),
    )
    return world.head.join(msgspec.structs.replace(message, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cluster_id": "d" * 32}, ["cccccccc", "dddddddd", "--key-file"]),
        ({"protocol": 99}, ["protocol 99", "same version"]),
        ({"version": "9.9"}, ["0.1.0", "9.9", "same version"]),
        ({"python": "3.13"}, ["3.11", "3.13", "Start the node with Python 3.11"]),
    ],
)
def test_a_stranger_is_refused_in_a_sentence(changes: dict[str, object], words: list[str]) -> None:
    answer = register(World(), **changes)
    assert isinstance(answer, cluster.RegistrationRefused)
    assert all(word in answer.reason for word in words)


def test_numbers_start_at_one_and_are_never_used_twice() -> None:
    world = World()
    first = world.add_node()
    second = world.add_node()
    world.kill_node(second)
    world.run(0.1)
    third = world.add_node()
    assert [n.number for n in (first, second, third)] == [1, 2, 3]


def test_everybody_learns_of_everybody() -> None:
    world = World()
    nodes = [world.add_node() for _ in range(3)]
    world.beat()
    world.run(0.2)
    nodes += [world.add_node() for _ in range(5)]
    world.run(0.5)
    assert all(n.known == set(range(1, 9)) for n in nodes)
    world.kill_node(nodes[4])
    world.run(0.5)
    others = [n for n in nodes if n is not nodes[4]]
    assert all(n.known == {1, 2, 3, 4, 6, 7, 8} for n in others)


def test_silence_is_death_and_a_dead_node_is_refused() -> None:
    world = World()
    first, second = world.add_node(), world.add_node()
    world.beat()
    world.run(1)
    second.silent = True
    world.run(SILENT_S - 1)
    assert 2 in world.head.nodes.alive
    world.run(1.5)
    assert list(world.head.nodes.alive) == [1]
    gone = [m for m in first.seen if isinstance(m, leases.NodeGone)]
    assert [g.node for g in gone] == [2]
    assert "5 s" in gone[0].reason
    second.silent = False
    second.report()
    world.run(1)
    assert list(world.head.nodes.alive) == [1]
    answer = register(world, info=second.info)
    assert isinstance(answer, cluster.RegistrationRefused)
    assert "declared dead" in answer.reason


def test_a_head_that_was_away_blames_nobody() -> None:
    world = World()
    world.add_node()
    world.run(0.5)
    world.time += 60
    world.head.advance()
    assert list(world.head.nodes.alive) == [1]
    world.run(SILENT_S + 1)
    assert list(world.head.nodes.alive) == []


def test_views_carry_only_what_changed_and_come_in_batches() -> None:
    world = World()
    nodes = [world.add_node() for _ in range(4)]
    world.beat()
    world.run(1)
    views = [m for m in nodes[3].seen if isinstance(m, cluster.View)]
    assert views == []
    for _ in range(5):
        nodes[0].take(amounts(CPU=0.5))
        nodes[1].take(amounts(CPU=0.25))
    world.run(1)
    views = [m for m in nodes[3].seen if isinstance(m, cluster.View)]
    assert 1 <= len(views) <= 3
    assert {u.node for v in views for u in v.changed} == {1, 2}
    last = {u.node: u.available for v in views for u in v.changed}
    assert last == {1: amounts(CPU=1.5), 2: amounts(CPU=2.75)}


def test_a_new_node_learns_how_full_the_others_are() -> None:
    world = World()
    first = world.add_node()
    world.beat()
    first.take(amounts(CPU=3))
    world.run(1)
    second = world.add_node()
    world.run(1)
    views = [u for m in second.seen if isinstance(m, cluster.View) for u in m.changed]
    assert [(u.node, u.available) for u in views] == [(1, amounts(CPU=1))]


def test_a_node_that_leaves_is_seen_draining_and_then_gone_for_that_reason() -> None:
    world = World()
    first, second = world.add_node(), world.add_node()
    world.beat()
    world.run(0.5)
    second.say(cluster.Leave("time is up"))
    world.run(0.5)
    views = [u for m in first.seen if isinstance(m, cluster.View) for u in m.changed]
    assert [(u.node, u.draining) for u in views] == [(2, True)]
    world.kill_node(second)
    world.run(0.5)
    gone = next(m for m in first.seen if isinstance(m, leases.NodeGone))
    assert gone.reason == "it left (time is up)"
    states = world.ask(first, cluster.Nodes(), list[listings.NodeState])
    assert [(s.info.number, s.alive) for s in states] == [(2, False), (1, True)]


def test_the_end_goes_to_every_raylet_once_and_nothing_follows() -> None:
    world = World()
    nodes = [world.add_node() for _ in range(3)]
    world.beat()
    driver = world.start_job(nodes[0])
    world.run(0.5)
    world.to_head(driver, cluster.EndCluster("the driver has ended", 3))
    world.to_head(driver, cluster.EndCluster("again", 4))
    world.run(0.5)
    assert [n.ended for n in nodes] == [leases.Shutdown("the driver has ended", 3)] * 3
    world.kill_node(nodes[1])
    world.run(1)
    assert not any(isinstance(m, leases.NodeGone) for m in nodes[0].seen)
    assert list(world.head.nodes.alive) == [1, 3]
    assert isinstance(register(world), cluster.RegistrationRefused)


def test_a_job_asked_for_before_it_is_known_is_told_when_it_is() -> None:
    world = World()
    first, second = world.add_node(), world.add_node()
    world.beat()
    second.say(cluster.GetJob(9))
    world.run(0.5)
    assert not any(isinstance(m, cluster.JobIs) for m in second.seen)
    job = JobConfig(9, world.process(first), "ns", ["/p"], "/", ["numpy"])
    first.say(cluster.JobStarted(job))
    world.run(0.5)
    second.say(cluster.GetJob(9))
    world.run(0.5)
    assert [m for m in second.seen if isinstance(m, cluster.JobIs)] == [cluster.JobIs(job)] * 2


def test_of_two_nodes_that_cannot_reach_each_other_one_goes() -> None:
    world = World()
    nodes = [world.add_node() for _ in range(4)]
    world.beat()
    world.run(0.2)
    # The third has lost two of its links; both ends say so.
    for one, other in ((0, 2), (2, 0), (2, 3)):
        nodes[one].say(cluster.LinkBroken(nodes[other].number))
    world.run(2.0)
    assert set(world.head.nodes.alive) == {1, 2, 4}
    assert "its link to node 1, 4 broke" in world.head.nodes.dead[0].ended
    state = world.head.nodes.dead[0].state()
    assert 0 < state.joined <= state.left


def test_a_broken_link_to_a_node_that_is_gone_means_nothing() -> None:
    world = World()
    nodes = [world.add_node() for _ in range(2)]
    world.beat()
    world.kill_node(nodes[1])
    world.run(0.5)
    nodes[0].say(cluster.LinkBroken(nodes[1].number))
    world.run(1.5)
    assert set(world.head.nodes.alive) == {1}


def rejoining(world: World, node: FakeRaylet) -> cluster.RejoinNode:
    return cluster.RejoinNode(
        FACTS.cluster_id,
        cluster.PROTOCOL,
        FACTS.python,
        FACTS.version,
        node.number,
        node.info.node_id,
        0,
        cluster.Usage(node.number, dict(node.free), version=node.version + 1),
        world.time,
    )


def two_nodes() -> tuple[World, FakeRaylet, FakeRaylet]:
    world = World()
    first, second = world.add_node(), world.add_node()
    world.beat()
    world.run(0.5)
    return world, first, second


def test_a_node_whose_connection_broke_may_come_back_in_time() -> None:
    world, first, second = two_nodes()
    first.take(amounts(CPU=3))
    second.silent = True  # it has no connection
    world.head.lost(2)
    world.run(REJOIN_S - 0.1)
    assert list(world.head.nodes.alive) == [1, 2]
    assert list(world.head.disconnected()) == [2]
    second.seen.clear()
    second.free = amounts(CPU=1)
    answer = world.head.rejoin(rejoining(world, second), 0)
    assert isinstance(answer, cluster.Rejoined)
    assert [info.number for info in answer.nodes] == [1, 2]
    second.silent = False
    world.run(REJOIN_S + 1)
    assert list(world.head.nodes.alive) == [1, 2]
    assert not world.head.disconnected()
    assert world.head.nodes.alive[2].free["CPU"] == amounts(CPU=1)["CPU"]
    # It learns anew how full the others are.
    views = [u for m in second.seen if isinstance(m, cluster.View) for u in m.changed]
    assert (1, amounts(CPU=1)) in [(u.node, u.available) for u in views]


def test_one_that_does_not_is_dead_and_told_so_when_it_asks() -> None:
    world, first, second = two_nodes()
    second.silent = True
    world.head.lost(2)
    world.run(REJOIN_S + 0.1)
    gone = next(m for m in first.seen if isinstance(m, leases.NodeGone))
    assert (gone.node, "did not come back within 2 s" in gone.reason) == (2, True)
    answer = world.head.rejoin(rejoining(world, second), 0)
    assert answer == leases.NodeGone(2, gone.reason)
    assert list(world.head.nodes.alive) == [1]


def test_one_whose_raylet_has_ended_is_dead_at_once() -> None:
    world, first, _ = two_nodes()
    world.head.lost(2)
    world.head.raylet_ended(2)
    world.head.advance()
    world.run(0.1)
    assert next(m for m in first.seen if isinstance(m, leases.NodeGone)).node == 2
    # What is found out about a node that is connected is out of date.
    world.head.raylet_ended(1)
    world.head.advance()
    assert list(world.head.nodes.alive) == [1]


def test_one_that_asks_before_the_head_has_noticed_is_taken_back() -> None:
    world, _, second = two_nodes()
    assert isinstance(world.head.rejoin(rejoining(world, second), 0), cluster.Rejoined)
    world.run(REJOIN_S + 1)
    assert list(world.head.nodes.alive) == [1, 2]


def test_a_welcome_that_was_lost_is_given_again() -> None:
    world = World()
    world.add_node()
    node = world.add_node()
    world.head.lost(node.number)
    answer = register(world, info=node.info)
    assert isinstance(answer, cluster.Registered)
    assert answer.number == node.number
    world.beat()
    world.run(REJOIN_S + 1)
    assert list(world.head.nodes.alive) == [1, 2]


def test_a_head_that_was_away_gives_them_their_time() -> None:
    world, _, second = two_nodes()
    world.head.lost(2)
    world.time += 60
    world.head.advance()
    assert isinstance(world.head.rejoin(rejoining(world, second), 0), cluster.Rejoined)


def test_of_two_that_cannot_reach_each_other_the_one_without_a_connection_goes() -> None:
    world, _, second = two_nodes()
    third = world.add_node()
    second.silent = True
    world.head.lost(2)
    third.say(cluster.LinkBroken(2))
    world.run(1.0)
    assert list(world.head.nodes.alive) == [1, 3]
