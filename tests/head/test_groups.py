"""Placement groups: all or nothing, whatever happens in between."""

from __future__ import annotations

import itertools

import pytest

from rayhpc.wire.address import Address
from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.messages import actors, cluster
from rayhpc.wire.messages.actors import (
    ALIVE,
    DEAD,
    GROUP_CREATED,
    GROUP_PENDING,
    GROUP_REMOVED,
    GROUP_RESCHEDULING,
    PENDING,
)
from rayhpc.wire.messages.common import Strategy

from .fakes import World, amounts, cluster_of

ONE = amounts(CPU=1)


def now(world: World, driver: Address, group: bytes) -> actors.GroupIs:
    world.run(0.5)
    found = world.last(driver, actors.GroupIs, group)
    assert isinstance(found, actors.GroupIs)
    return found


@pytest.mark.parametrize(
    ("strategy", "distinct"), [("PACK", 1), ("STRICT_PACK", 1), ("SPREAD", 2), ("STRICT_SPREAD", 2)]
)
def test_each_strategy_puts_two_bundles_where_it_says(strategy: str, distinct: int) -> None:
    world, _nodes, driver = cluster_of(2, cpus=2)
    group = world.group(driver, [ONE, ONE], strategy)
    is_now = now(world, driver, group)
    assert is_now.state == GROUP_CREATED
    assert len(set(is_now.nodes)) == distinct
    for index, number in enumerate(is_now.nodes):
        assert index in world.raylets[number].bundles[group]


@pytest.mark.parametrize(
    ("strategy", "bundles", "words"),
    [
        ("STRICT_PACK", [ONE] * 3, "STRICT_PACK"),
        ("STRICT_SPREAD", [ONE] * 3, "STRICT_SPREAD"),
        ("PACK", [ONE] * 5, "whole cluster"),
        ("SPREAD", [amounts(CPU=3)], "2 CPU"),
    ],
)
def test_what_can_never_be_placed_waits_and_says_why(
    strategy: str, bundles: list[dict[str, int]], words: str
) -> None:
    world, nodes, driver = cluster_of(2, cpus=2)
    group = world.group(driver, bundles, strategy)
    is_now = now(world, driver, group)
    assert is_now.state == GROUP_PENDING
    assert words in is_now.text
    assert all(n.free == n.total for n in nodes)
    world.add_node(amounts(CPU=8))
    world.add_node(amounts(CPU=8))
    assert now(world, driver, group).state == GROUP_CREATED


def test_pack_and_spread_fall_back_where_they_must() -> None:
    world, _, driver = cluster_of(2, cpus=2)
    packed = now(world, driver, world.group(driver, [ONE] * 3, "PACK"))
    assert sorted(packed.nodes.count(n) for n in (1, 2)) == [1, 2]
    world, _, driver = cluster_of(2, cpus=2)
    spread = now(world, driver, world.group(driver, [ONE] * 4, "SPREAD"))
    assert sorted(spread.nodes) == [1, 1, 2, 2]


def test_looks_in_a_row_that_find_no_room_are_one_attempt() -> None:
    world, nodes, driver = cluster_of(1, cpus=2)
    assert nodes[0].take(amounts(CPU=2))
    world.run(0.5)
    group = world.group(driver, [ONE], "PACK")
    assert now(world, driver, group).state == GROUP_PENDING
    for _ in range(3):  # what has grown is not enough
        nodes[0].give(amounts(CPU=0.25))
        world.run(0.5)
    (row,) = world.head.groups.rows()
    assert row.placings == 1
    nodes[0].give(amounts(CPU=1.25))
    assert now(world, driver, group).state == GROUP_CREATED
    (row,) = world.head.groups.rows()
    assert row.placings == 2


def test_one_raylet_without_room_makes_all_give_back_and_it_is_tried_again() -> None:
    world, nodes, driver = cluster_of(3, cpus=2)
    nodes[2].free["CPU"] = 0  # not reported
    group = world.group(driver, [ONE] * 3, "STRICT_SPREAD")
    world.run(0.1)
    nodes[2].report()
    is_now = now(world, driver, group)
    assert is_now.state == GROUP_PENDING
    assert [n.free for n in nodes[:2]] == [n.total for n in nodes[:2]]
    nodes[2].give(amounts(CPU=2))
    assert now(world, driver, group).state == GROUP_CREATED


def test_a_node_lost_while_preparing_leaves_nothing_behind() -> None:
    world, nodes, driver = cluster_of(3, cpus=2)
    group = world.group(driver, [ONE] * 3, "STRICT_SPREAD")
    world.run(0.012)
    world.kill_node(nodes[2])
    is_now = now(world, driver, group)
    assert is_now.state in (GROUP_PENDING, GROUP_RESCHEDULING)
    world.add_node(amounts(CPU=2))
    is_now = now(world, driver, group)
    assert (is_now.state, sorted(is_now.nodes)) == (GROUP_CREATED, [1, 2, 4])
    assert nodes[0].free == amounts(CPU=1)


def states(world: World, driver: int) -> list[str]:
    return [m.state for m in world.told(driver, actors.GroupIs)]


def test_bundles_of_a_lost_node_are_placed_again_and_actors_follow() -> None:
    world, _nodes, driver = cluster_of(3, cpus=2)
    group = world.group(driver, [ONE, ONE], "STRICT_SPREAD")
    first = now(world, driver, group).nodes
    inside = [
        world.create(driver, strategy=Strategy("group", group=group, bundle=i), max_restarts=1)
        for i in range(2)
    ]
    world.run()
    lost = world.raylets[first[1]]
    world.kill_node(lost)
    world.run(0.02)
    world.run()
    # The creator is told unasked, and as one that watches.
    told = [state for state, _ in itertools.groupby(states(world, driver))]
    assert told == [GROUP_PENDING, GROUP_CREATED, GROUP_RESCHEDULING, GROUP_CREATED]
    second = now(world, driver, group).nodes
    assert second[0] == first[0]
    assert second[1] not in first
    assert [world.state(a) for a in inside] == [ALIVE, ALIVE]
    assert inside[1] in world.raylets[second[1]].living


def test_rollback_while_rescheduling_keeps_the_bundles_that_survived() -> None:
    world, _nodes, driver = cluster_of(3, cpus=2)
    group = world.group(driver, [ONE, ONE, ONE], "SPREAD")
    placed = now(world, driver, group).nodes
    kept, other, lost = (world.raylets[n] for n in placed)
    kept.free["CPU"] = other.free["CPU"] = 0  # full, and not reported
    world.kill_node(lost)
    world.run(0.3)
    assert list(kept.bundles[group]) == [0]
    assert list(other.bundles[group]) == [1]
    kept.give(ONE)
    assert now(world, driver, group).state == GROUP_CREATED


def test_removal_ends_actors_inside_and_gives_everything_back() -> None:
    world, nodes, driver = cluster_of(2, cpus=2)
    group = world.group(driver, [ONE] * 2, "SPREAD")
    strategy = Strategy("group", group=group)
    inside = [world.create(driver, strategy=strategy) for _ in range(3)]
    world.run()
    assert sorted(world.state(a) for a in inside) == [ALIVE, ALIVE, PENDING]
    world.to_head(driver, actors.RemoveGroup(group))
    is_now = now(world, driver, group)
    assert is_now.state == GROUP_REMOVED
    assert [world.state(a) for a in inside] == [DEAD] * 3
    assert "placement group" in world.last(driver, actors.ActorIs, inside[0]).reason
    assert all(n.free == n.total and not n.living for n in nodes)
    late = world.create(driver, strategy=strategy)
    world.run()
    assert world.last(driver, actors.ActorIs, late).unschedulable


def test_actors_wait_for_their_group_and_share_its_bundles() -> None:
    world, nodes, driver = cluster_of(2, cpus=2)
    nodes[0].take(amounts(CPU=2))
    nodes[1].take(amounts(CPU=2))
    world.run(0.1)
    group = world.group(driver, [ONE] * 2, "PACK")
    strategy = Strategy("group", group=group)
    inside = [world.create(driver, cpus=0.5, strategy=strategy) for _ in range(4)]
    idle = world.create(driver, cpus=0, placing=ONE, strategy=strategy)
    world.run()
    assert {world.state(a) for a in inside} == {PENDING}
    nodes[1].give(amounts(CPU=2))
    world.run()
    assert {world.state(a) for a in [*inside, idle]} == {ALIVE}
    too_large = world.create(driver, cpus=2, strategy=strategy)
    world.run()
    assert "more than a bundle" in world.last(driver, actors.ActorIs, too_large).reason


def test_groups_end_with_their_job_but_not_detached_ones() -> None:
    world, nodes, driver = cluster_of(2, cpus=2)
    mine = world.group(driver, [ONE])
    detached = world.group(driver, [ONE], detached=True)
    world.run()
    nodes[0].say(cluster.ProcessDied(driver, "exit code 0", True))
    world.run()
    rows = world.ask(nodes[0], cluster.ListGroups(), list[actors.GroupRow])
    assert {r.group: r.state for r in rows} == {mine: GROUP_REMOVED, detached: GROUP_CREATED}


def test_a_group_made_by_an_actor_ends_with_the_actor() -> None:
    world, nodes, driver = cluster_of(2, cpus=2)
    actor = world.create(driver)
    world.run()
    group = world.group(next(n for n in nodes if n.living).addresses[actor], [ONE])
    world.to_head(driver, actors.WatchGroup(group))
    assert now(world, driver, group).state == GROUP_CREATED
    world.to_head(driver, actors.KillActor(actor))
    assert now(world, driver, group).state == GROUP_REMOVED


def test_bundle_label_selectors_choose_the_nodes() -> None:
    world = World()
    for zone in ("a", "b", "c"):
        world.add_node(amounts(CPU=4), zone=zone)
    world.beat()
    driver = world.start_job(world.raylets[1])
    selectors = [[("zone", "in(b,x)")], [("zone", "!b")], [("zone", "c")]]
    group = world.group(driver, [ONE] * 3, "PACK", selectors=selectors)
    is_now = now(world, driver, group)
    assert is_now.nodes[0] == 2
    assert is_now.nodes[1] in (1, 3)
    assert is_now.nodes[2] == 3
    never = world.group(driver, [ONE], "PACK", selectors=[[("zone", "z")]])
    assert "zone in (z)" in now(world, driver, never).text


def test_a_taken_name_is_refused_in_words() -> None:
    world, _, driver = cluster_of(1, cpus=2)
    world.group(driver, [ONE], name="g")
    second = world.group(driver, [ONE], name="g")
    is_now = now(world, driver, second)
    assert (is_now.state, "'g' is taken" in is_now.text) == (GROUP_REMOVED, True)


def test_a_group_nobody_made_is_said_to_be_gone() -> None:
    world, nodes, driver = cluster_of(1, cpus=2)
    creator = world.process(nodes[0])
    unknown = world.new_id(creator)
    actor = world.create(driver, strategy=Strategy("group", group=unknown))
    world.to_head(driver, actors.WatchGroup(unknown))
    world.run(30)
    assert world.state(actor) == PENDING
    nodes[0].say(cluster.ProcessDied(creator, "signal 9", False))
    assert now(world, driver, unknown).state == GROUP_REMOVED
    assert world.state(actor) == DEAD


def test_what_a_removed_group_had_can_be_had_at_once() -> None:
    world, nodes, driver = cluster_of(2, cpus=2)
    for _ in range(20):
        group = world.group(driver, [ONE] * 4, "PACK")
        world.run(0.05)  # two ways of at most 10 ms each, twice
        is_now = world.last(driver, actors.GroupIs, group)
        assert is_now.state == GROUP_CREATED
        world.to_head(driver, actors.RemoveGroup(group))
    world.run(1.0)
    for node in nodes:
        assert world.head.nodes.alive[node.number].free == amounts(CPU=2)
    assert not any(node.overbooked for node in nodes)


def test_an_actor_without_an_index_spares_bundles_with_gpus_on_other_nodes() -> None:
    world = World()
    gpus, plain = world.add_node(amounts(CPU=1, GPU=1)), world.add_node(amounts(CPU=1))
    world.beat()
    driver = world.start_job(gpus)
    world.run(0.5)
    group = world.group(driver, [amounts(CPU=1, GPU=1), ONE], "SPREAD")
    assert now(world, driver, group).nodes == [gpus.number, plain.number]
    actor = world.create(driver, strategy=Strategy("group", group=group))
    world.run(0.5)
    assert world.head.actors.table.get(actor).node.number == plain.number


def test_an_actor_starts_in_no_bundle_whose_node_it_would_outlast() -> None:
    world = World()
    near = world.add_node(amounts(CPU=1), **{END_LABEL: str(world.time + 30.0)})
    far = world.add_node(amounts(CPU=1), **{END_LABEL: str(world.time + 90.0)})
    world.beat()
    driver = world.start_job(near)
    world.run(0.5)
    group = world.group(driver, [ONE, ONE], "STRICT_SPREAD")
    first = now(world, driver, group).nodes.index(near.number)
    actor = world.create(driver, strategy=Strategy("group", group=group, seconds=60.0))
    bound = world.create(
        driver, strategy=Strategy("group", group=group, bundle=first, seconds=60.0)
    )
    world.run(0.5)
    assert world.head.actors.table.get(actor).node.number == far.number
    assert world.state(bound) == PENDING
    said = "in its placement group no node that could hold 1 CPU lasts for another 60 s"
    assert said in world.last(driver, actors.ActorIs, bound).reason
