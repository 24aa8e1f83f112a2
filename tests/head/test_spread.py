"""SPREAD groups where the head's view of the nodes lags: bundles share a node only if they must."""

from __future__ import annotations

import pytest

from rayhpc.head.groups import SPREAD_WAIT_S
from rayhpc.wire.address import Address
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.actors import GROUP_CREATED

from .fakes import FakeRaylet, World, amounts

ONE, TWO = amounts(CPU=1), amounts(CPU=2)


def cluster_of(
    count: int, seed: int = 0, latency: float = 0.01, cpus: int = 2
) -> tuple[World, list[FakeRaylet], Address]:
    world = World(seed, latency)
    nodes = [world.add_node(amounts(CPU=cpus)) for _ in range(count)]
    world.beat()
    driver = world.start_job(nodes[0])
    world.run(0.5)
    return world, nodes, driver


def spread(world: World, driver: Address, bundles: int = 2) -> bytes:
    return world.group(driver, [ONE] * bundles, "SPREAD")


def now(world: World, driver: Address, group: bytes) -> actors.GroupIs:
    found = world.last(driver, actors.GroupIs, group)
    assert isinstance(found, actors.GroupIs)
    return found


def test_a_node_whose_report_is_late_is_waited_for() -> None:
    world, nodes, driver = cluster_of(2)
    nodes[1].take(TWO)
    world.run(0.1)
    nodes[1].free = dict(nodes[1].total)  # not reported yet
    group = spread(world, driver)
    world.run(0.2)
    assert now(world, driver, group).state != GROUP_CREATED
    nodes[1].report()
    world.run(0.15)
    is_now = now(world, driver, group)
    assert (is_now.state, sorted(is_now.nodes)) == (GROUP_CREATED, [1, 2])


def test_a_node_that_stays_full_is_waited_for_only_shortly() -> None:
    world, nodes, driver = cluster_of(2)
    nodes[1].take(TWO)
    world.run(0.1)
    group = spread(world, driver)
    world.run(SPREAD_WAIT_S / 2)
    assert now(world, driver, group).state != GROUP_CREATED
    world.run(SPREAD_WAIT_S / 2 + 0.1)
    is_now = now(world, driver, group)
    assert (is_now.state, is_now.nodes) == (GROUP_CREATED, [1, 1])


def test_where_sharing_cannot_be_helped_nobody_waits() -> None:
    world, _, driver = cluster_of(2)
    group = spread(world, driver, 4)
    world.run(0.06)
    is_now = now(world, driver, group)
    assert (is_now.state, sorted(is_now.nodes)) == (GROUP_CREATED, [1, 1, 2, 2])


def test_the_wait_begins_when_there_is_something_to_choose() -> None:
    world, nodes, driver = cluster_of(2)
    for node in nodes:
        node.take(TWO)
    world.run(0.1)
    group = spread(world, driver)
    world.run(5)
    nodes[0].give(TWO)
    world.run(0.2)
    nodes[1].give(TWO)
    world.run(0.2)
    assert sorted(now(world, driver, group).nodes) == [1, 2]


def test_what_tasks_have_and_a_raylet_can_call_back_is_used_at_once() -> None:
    world, nodes, driver = cluster_of(2)
    nodes[1].leased = TWO
    nodes[1].take(TWO)
    world.run(0.1)
    nodes[1].free = dict(nodes[1].total)  # the leases idle: the raylet takes them back when asked
    group = spread(world, driver)
    world.run(0.1)
    assert sorted(now(world, driver, group).nodes) == [1, 2]


def test_where_tasks_run_long_bundles_share_a_node_after_one_refusal() -> None:
    world, nodes, driver = cluster_of(2)
    nodes[1].leased = TWO
    nodes[1].take(TWO)
    world.run(0.1)
    group = spread(world, driver)
    world.run(0.3)
    is_now = now(world, driver, group)
    assert (is_now.state, is_now.nodes) == (GROUP_CREATED, [1, 1])


def test_lost_bundles_go_where_the_group_has_the_fewest() -> None:
    world, nodes, driver = cluster_of(3, cpus=8)
    group = spread(world, driver, 4)
    world.run(0.1)
    placed = now(world, driver, group).nodes
    double, single, lost = sorted(nodes, key=lambda node: -placed.count(node.number))
    single.take(amounts(CPU=5))  # the other has more room
    world.run(0.1)
    world.kill_node(lost)
    world.run(1)
    is_now = now(world, driver, group)
    assert is_now.state == GROUP_CREATED
    assert [is_now.nodes.count(x.number) for x in (double, single)] == [2, 2]


@pytest.mark.parametrize("seed", range(60))
def test_two_bundles_on_two_nodes_that_have_just_been_busy(seed: int) -> None:
    """Reports take up to 0.15 s; what the nodes did ends around the time the group is made."""
    world, nodes, driver = cluster_of(2, seed, latency=0.15)
    for node in nodes:
        busy = ONE if world.random.random() < 0.3 else TWO
        start = world.random.uniform(0, 0.3)
        end = 0.3 + world.random.uniform(0, 0.1)
        world.later(start, lambda node=node, busy=busy: node.take(busy))
        world.later(end, lambda node=node, busy=busy: node.give(busy))
    world.run(0.25 + world.random.uniform(0, 0.2))
    group = spread(world, driver)
    world.run(2)
    is_now = now(world, driver, group)
    assert (is_now.state, sorted(is_now.nodes)) == (GROUP_CREATED, [1, 2])
    assert all(node.overbooked == 0 for node in nodes)
