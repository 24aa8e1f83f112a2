"""Every actor's life, as its creator, its callers and the raylets see it."""

from __future__ import annotations

import msgspec
import pytest

from rayhpc.head.endings import SURELY_S
from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.messages import actors, cluster, listings
from rayhpc.wire.messages.actors import ALIVE, DEAD, PENDING, RESTARTING
from rayhpc.wire.messages.common import Labels, Strategy
from rayhpc.wire.messages.load import ClusterLoad

from .fakes import FakeRaylet, World, actor_spec, amounts, cluster_of


def states(world: World, watcher: int, actor: bytes) -> list[str]:
    return [m.state for m in world.told(watcher, actors.ActorIs) if m.actor == actor]


def home(world: World, actor: bytes) -> FakeRaylet:
    found = world.head.actors.table.get(actor)
    assert found is not None
    assert found.node is not None
    return world.raylets[found.node.number]


def test_an_actor_starts_and_its_watcher_learns_where() -> None:
    world, nodes, driver = cluster_of(1)
    actor = world.create(driver)
    world.run()
    assert world.last(driver, actors.ActorCreated).error == ""
    is_now = world.last(driver, actors.ActorIs, actor)
    assert (is_now.state, is_now.incarnation) == (ALIVE, 0)
    assert is_now.address == nodes[0].addresses[actor]
    assert is_now.node_id == "node-1"


def test_it_keeps_what_it_holds_and_gives_it_back() -> None:
    world, nodes, driver = cluster_of(1, cpus=2)
    first = [world.create(driver) for _ in range(3)]
    world.run()
    assert sorted(world.state(a) for a in first) == [ALIVE, ALIVE, PENDING]
    waiting = next(a for a in first if world.state(a) == PENDING)
    row = next(
        r
        for r in world.ask(nodes[0], cluster.ListActors(), list[actors.ActorRow])
        if r.spec.actor == waiting
    )
    assert "1 CPU free" in row.reason
    gone = next(a for a in first if a != waiting)
    world.to_head(driver, actors.KillActor(gone))
    world.run()
    assert world.state(waiting) == ALIVE
    assert nodes[0].overbooked == 0


def test_one_that_holds_nothing_starts_although_all_cpus_are_taken() -> None:
    world, nodes, driver = cluster_of(1, cpus=2)
    assert nodes[0].take(amounts(CPU=2))
    actor = world.create(driver, cpus=0, placing=amounts(CPU=1))
    too_large = world.create(driver, cpus=0, placing=amounts(CPU=3))
    world.run()
    assert world.state(actor) == ALIVE
    assert world.state(too_large) == PENDING


def test_many_that_hold_nothing_spread_over_the_nodes() -> None:
    world, nodes, driver = cluster_of(3, cpus=2)
    made = [world.create(driver, cpus=0, placing=amounts(CPU=1)) for _ in range(12)]
    world.run()
    assert all(world.state(a) == ALIVE for a in made)
    assert sorted(len(n.living) for n in nodes) == [4, 4, 4]


def test_spread_uses_every_node() -> None:
    world, nodes, driver = cluster_of(4)
    for _ in range(4):
        world.create(driver, strategy=Strategy("spread"))
    world.run()
    assert [len(n.living) for n in nodes] == [1, 1, 1, 1]


def test_spread_counts_those_that_ask_for_nothing() -> None:
    world, nodes, driver = cluster_of(3)
    for _ in range(6):
        world.create(driver, cpus=0, placing={}, strategy=Strategy("spread"))
    world.run()
    assert [len(n.living) for n in nodes] == [2, 2, 2]


# -- failing -------------------------------------------------------------------------------------
def test_a_constructor_that_fails_is_final_and_its_error_travels() -> None:
    world, nodes, driver = cluster_of(1)
    nodes[0].fail_with = b"pickled error"
    actor = world.create(driver, max_restarts=5)
    world.run()
    is_now = world.last(driver, actors.ActorIs, actor)
    assert (is_now.state, is_now.error) == (DEAD, b"pickled error")


def test_restarts_are_counted_and_each_is_a_new_incarnation() -> None:
    world, _, driver = cluster_of(2)
    actor = world.create(driver, max_restarts=2)
    world.run()
    for _ in range(3):
        home(world, actor).end_actor(actor, "signal 9")
        world.run()
    assert states(world, driver, actor) == [
        PENDING, ALIVE, RESTARTING, ALIVE, RESTARTING, ALIVE, DEAD,
    ]  # fmt: skip
    told = [m.incarnation for m in world.told(driver, actors.ActorIs)]
    assert told == [0, 0, 1, 1, 2, 2, 2]
    assert world.last(driver, actors.ActorIs).reason == "signal 9"


def test_a_process_that_dies_while_constructing_costs_a_restart() -> None:
    world, nodes, driver = cluster_of(1)
    actor = world.create(driver, max_restarts=0)
    world.run(0.03)
    nodes[0].end_actor(actor, "exit code 1")
    world.run()
    assert world.state(actor) == DEAD


def test_an_actor_that_leaves_by_itself_is_not_restarted() -> None:
    world, _, driver = cluster_of(1)
    actor = world.create(driver, max_restarts=-1)
    world.run()
    home(world, actor).end_actor(actor, "exit_actor was called", intended=True)
    world.run()
    assert world.state(actor) == DEAD


@pytest.mark.parametrize(("restarts", "expected"), [(1, ALIVE), (0, DEAD)])
def test_kill_without_no_restart_restarts_if_it_may(restarts: int, expected: str) -> None:
    world, nodes, driver = cluster_of(1)
    actor = world.create(driver, max_restarts=restarts)
    world.run()
    world.to_head(driver, actors.KillActor(actor, no_restart=False))
    world.run()
    assert world.state(actor) == expected
    assert nodes[0].living == ({actor: 1} if restarts else {})


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.1])
def test_killed_or_dropped_right_after_creation_leaks_nothing(delay: float) -> None:
    for message in (actors.KillActor, actors.ActorUnreferenced):
        world, nodes, driver = cluster_of(1)
        actor = world.create(driver)
        world.run(delay)
        world.to_head(driver, message(actor))
        world.run()
        assert world.state(actor) == DEAD
        assert nodes[0].living == {}
        assert nodes[0].free == nodes[0].total
        node = world.head.nodes.alive[1]
        assert node.free == nodes[0].total
        assert not any(node.lent.values())


def test_a_raylet_without_room_is_asked_again_later() -> None:
    world, nodes, driver = cluster_of(2, cpus=2)
    nodes[1].take(amounts(CPU=2))
    world.run(0.1)
    actor = world.create(driver, cpus=2)
    nodes[0].free["CPU"] = 0
    world.run(0.5)
    assert world.state(actor) == PENDING
    nodes[1].give(amounts(CPU=2))
    world.run()
    assert world.state(actor) == ALIVE
    assert actor in nodes[1].living


def test_nothing_told_by_a_process_counts_as_a_raylets_word() -> None:
    world, nodes, driver = cluster_of(1)
    actor = world.create(driver)
    world.run()
    world.to_head(driver, actors.ActorEnded(actor, 0, "a lie"))
    world.to_head(driver, cluster.ProcessDied(nodes[0].addresses[actor], "a lie", False))
    world.run()
    assert world.state(actor) == ALIVE


# -- those around them ---------------------------------------------------------------------------
def test_a_lost_node_restarts_its_actors_elsewhere() -> None:
    world, nodes, driver = cluster_of(3)
    made = [world.create(driver, strategy=Strategy("spread"), max_restarts=1) for _ in range(3)]
    mortal = world.create(driver, strategy=Strategy("node", "node-2"))
    world.run()
    lost = nodes[1]
    world.kill_node(lost)
    world.run()
    assert [world.state(a) for a in made] == [ALIVE] * 3
    assert world.state(mortal) == DEAD
    assert all(home(world, a) is not lost for a in made)
    assert "127.0.0.1" in world.last(driver, actors.ActorIs, mortal).reason


def test_an_actor_of_a_silent_node_starts_again_once_it_cannot_live_there_any_more() -> None:
    world, nodes, driver = cluster_of(3)
    actor = world.create(driver, max_restarts=1, strategy=Strategy("spread"))
    world.run()
    while home(world, actor) is nodes[0]:
        world.to_head(driver, actors.KillActor(actor, no_restart=False))
        world.run()
    old = home(world, actor)
    old.silent = True
    silent_since = world.time
    world.run(SURELY_S - 1.0)
    assert world.state(actor) == RESTARTING
    assert old.info.node_id not in [x.info.node_id for x in world.head.nodes.alive.values()]
    assert not any(actor in each.living for each in nodes if each is not old)
    world.run(2.0)
    assert world.state(actor) == ALIVE
    assert world.time - silent_since < SURELY_S + 1.5
    assert home(world, actor) is not old


def test_an_actor_not_yet_alive_moves_from_a_lost_node_for_free() -> None:
    world, nodes, driver = cluster_of(2)
    actor = world.create(driver, strategy=Strategy("node", "node-2", soft=True), max_restarts=0)
    world.run(0.03)
    assert actor in nodes[1].living
    world.kill_node(nodes[1])
    world.run()
    assert (world.state(actor), list(nodes[0].living)) == (ALIVE, [actor])


def test_a_node_that_left_in_good_order_costs_no_restart() -> None:
    world, nodes, driver = cluster_of(2)
    actor = world.create(driver, strategy=Strategy("node", "node-2", soft=True), max_restarts=1)
    world.run()
    nodes[1].say(cluster.Leave("SIGTERM"))
    world.run(0.1)
    other = world.create(driver, cpus=4, strategy=Strategy("labels"))
    world.run()
    assert world.state(other) == ALIVE
    assert list(nodes[0].living) == [other]
    world.kill_node(nodes[1])
    world.run(0.2)
    assert world.last(driver, actors.ActorIs, actor).preempted
    world.to_head(driver, actors.KillActor(other))
    world.run()
    assert (world.state(actor), home(world, actor)) == (ALIVE, nodes[0])
    found = world.head.actors.table.get(actor)
    assert found is not None
    assert found.restarts == 1


def test_owners_take_their_actors_with_them_but_not_detached_ones() -> None:
    world, nodes, _ = cluster_of(2)
    worker = world.process(nodes[1])
    child = world.create(worker)
    detached = world.create(worker, detached=True, name="d")
    world.run()
    nodes[1].say(cluster.ProcessDied(worker, "exit code 0", False))
    world.run()
    assert (world.state(child), world.state(detached)) == (DEAD, ALIVE)


def test_an_owner_lost_with_its_node_takes_its_actors_with_it() -> None:
    world, nodes, driver = cluster_of(2)
    worker = world.process(nodes[1])
    child = world.create(worker, strategy=Strategy("node", "node-1"), max_restarts=-1)
    world.to_head(driver, actors.WatchActor(child))
    world.run()
    world.kill_node(nodes[1])
    world.run()
    assert "owner" in world.last(driver, actors.ActorIs, child).reason
    assert nodes[0].living == {}


def test_a_creation_that_arrives_after_its_owners_death_starts_nothing() -> None:
    world, nodes, _ = cluster_of(1)
    worker = world.process(nodes[0])
    nodes[0].say(cluster.ProcessDied(worker, "signal 9", False))
    actor = world.create(worker)
    world.run()
    assert world.state(actor) == ""
    assert nodes[0].living == {}


def test_a_job_ends_with_its_actors() -> None:
    world, nodes, driver = cluster_of(1)
    worker = world.process(nodes[0])
    made = [world.create(driver), world.create(worker)]
    world.run()
    nodes[0].say(cluster.ProcessDied(driver, "exit code 0", True))
    world.run()
    assert [world.state(a) for a in made] == [DEAD, DEAD]
    job = world.ask(nodes[0], cluster.ListJobs(), list[listings.JobRow])[0]
    assert (job.alive, job.reason) == (False, "exit code 0")


# -- strategies ----------------------------------------------------------------------------------
def test_hard_affinity_to_no_node_is_unschedulable_soft_goes_elsewhere() -> None:
    world, _, driver = cluster_of(1)
    hard = world.create(driver, strategy=Strategy("node", "nowhere"))
    soft = world.create(driver, strategy=Strategy("node", "nowhere", soft=True))
    world.run()
    is_now = world.last(driver, actors.ActorIs, hard)
    assert (is_now.state, is_now.unschedulable) == (DEAD, True)
    assert "nowhere" in is_now.reason
    assert world.state(soft) == ALIVE


def test_hard_affinity_to_a_node_that_goes_is_unschedulable() -> None:
    world, nodes, driver = cluster_of(2)
    nodes[1].take(amounts(CPU=4))
    world.run(0.1)
    actor = world.create(driver, strategy=Strategy("node", "node-2"))
    world.run()
    assert world.state(actor) == PENDING
    world.kill_node(nodes[1])
    world.run()
    assert world.last(driver, actors.ActorIs, actor).unschedulable


def test_a_demand_no_node_can_meet_waits_and_says_why_until_a_node_comes() -> None:
    world, nodes, driver = cluster_of(2)
    actor = world.create(driver, cpus=16)
    world.run()
    is_now = world.last(driver, actors.ActorIs, actor)
    assert is_now.state == PENDING
    assert "16 CPU" in is_now.reason
    assert "4 CPU" in is_now.reason
    usage = world.ask(nodes[0], cluster.ClusterUsage(), listings.ClusterState)
    assert [(d, n) for d, n, _ in usage.demand] == [(amounts(CPU=16), 1)]
    world.add_node(amounts(CPU=32))
    world.run()
    assert world.state(actor) == ALIVE


def test_labels_choose_the_node_and_wishes_only_prefer() -> None:
    world = World()
    first = world.add_node(zone="a")
    second = world.add_node(zone="b")
    world.beat()
    driver = world.start_job(first)
    hard = [Labels("zone", "in", ["b"])]
    bound = world.create(driver, strategy=Strategy("labels", hard=hard))
    wish = world.create(driver, strategy=Strategy("labels", wish=hard))
    never = world.create(
        driver, strategy=Strategy("labels", hard=[Labels("zone", "not_in", ["a", "b"])])
    )
    world.run()
    assert sorted(second.living) == sorted([bound, wish])
    assert world.state(never) == PENDING
    assert "zone not in (a, b)" in world.last(driver, actors.ActorIs, never).reason


def test_one_that_says_how_long_it_lives_goes_where_so_much_time_is_left() -> None:
    world = World()
    first = world.add_node(amounts(CPU=1), **{END_LABEL: str(world.time + 30.0)})
    world.beat()
    driver = world.start_job(first)
    short = world.create(driver, strategy=Strategy(seconds=20.0))
    long = world.create(driver, strategy=Strategy(seconds=60.0))
    bound = world.create(driver, strategy=Strategy("node", node="node-1", seconds=60.0))
    world.run()
    assert world.state(short) == ALIVE
    assert world.state(long) == PENDING
    said = "no node that could hold 1 CPU lasts for another 60 s (the last one ends at "
    assert said in world.last(driver, actors.ActorIs, long).reason
    assert world.last(driver, actors.ActorIs, bound).unschedulable
    world.run(5.0)
    world.add_node(amounts(CPU=0.5))
    world.run()
    # It is considered anew, but told once.
    told = [m.reason for m in world.told(driver, actors.ActorIs) if m.actor == long and m.reason]
    assert len(told) == 1
    load = world.ask(first, cluster.Load(), ClusterLoad)
    assert [each.strategy.seconds for each in load.waiting] == [60.0]
    second = world.add_node(amounts(CPU=1), **{END_LABEL: str(world.time + 90.0)})
    world.run()
    assert [*second.living] == [long]


def test_one_that_waits_for_room_hears_when_no_node_lasts_long_enough_any_more() -> None:
    world = World()
    first = world.add_node(amounts(CPU=1), **{END_LABEL: str(world.time + 30.0)})
    world.beat()
    driver = world.start_job(first)
    world.run(0.5)
    assert first.take(amounts(CPU=1))
    world.run(0.5)
    actor = world.create(driver, strategy=Strategy(seconds=20.0))
    world.run(15.0)
    assert world.head.actors.table.get(actor).reason == "it waits for a node with 1 CPU free"
    first.give(amounts(CPU=1))
    world.run()
    assert world.state(actor) == PENDING
    assert "lasts for another 20 s" in world.last(driver, actors.ActorIs, actor).reason


# -- watching ------------------------------------------------------------------------------------
def test_a_watch_before_the_creation_is_answered_when_it_comes() -> None:
    world, nodes, driver = cluster_of(1)
    watcher = world.process(nodes[0])
    actor = world.new_id(driver)
    world.to_head(watcher, actors.WatchActor(actor))
    world.run()
    assert world.told(watcher, actors.ActorIs) == []
    world.to_head(driver, actors.CreateActor(1, actor_spec(actor, driver)))
    world.run()
    assert states(world, watcher, actor) == [PENDING, ALIVE]


@pytest.mark.parametrize("with_its_node", [False, True])
def test_a_watch_lasts_until_the_creator_has_ended(with_its_node: bool) -> None:
    world, nodes, _ = cluster_of(2)
    creator, watcher = world.process(nodes[1]), world.process(nodes[0])
    actor = world.new_id(creator)
    world.to_head(watcher, actors.WatchActor(actor))
    world.run(60)
    assert states(world, watcher, actor) == []
    if with_its_node:
        world.kill_node(nodes[1])
    else:
        nodes[1].say(cluster.ProcessDied(creator, "signal 9", False))
    world.run()
    assert states(world, watcher, actor) == [DEAD]
    late = world.process(nodes[0])
    world.to_head(late, actors.WatchActor(actor))
    world.run()
    assert states(world, late, actor) == [DEAD]


def test_a_dead_actor_answers_late_watchers() -> None:
    world, nodes, driver = cluster_of(1)
    actor = world.create(driver)
    world.run()
    world.to_head(driver, actors.KillActor(actor))
    world.run()
    watcher = world.process(nodes[0])
    world.to_head(watcher, actors.WatchActor(actor))
    world.run()
    assert "ray.kill" in world.last(watcher, actors.ActorIs).reason


def test_an_actor_goes_where_tasks_can_be_called_back_from() -> None:
    world = World()
    nodes = [world.add_node(amounts(CPU=2)) for _ in range(2)]
    world.beat()
    owner = world.start_job(nodes[0])
    world.run(0.2)
    full = [cluster.Usage(n.number, amounts(CPU=0), 0, 100, False, n.taken) for n in nodes]
    nodes[0].say(cluster.Heartbeat(full[0]))
    nodes[1].say(cluster.Heartbeat(msgspec.structs.replace(full[1], leased=amounts(CPU=2))))
    world.run(0.1)
    world.create(owner)
    world.run(0.1)
    started = [n.number for n in nodes for m in n.seen if isinstance(m, actors.StartActor)]
    assert started == [2]
