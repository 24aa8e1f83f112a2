"""The head is killed, at any message, and comes back, or does not.

What was acknowledged is there, what was asked is answered once, nothing has two lives.
"""

from __future__ import annotations

from rayhpc.head.membership import RETURN_S
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.cluster import HEAD_PATIENCE_S

from .checks import (
    make_groups,
    nothing_left,
    outcomes,
    put_each_once,
    remove_groups,
    routine,
    submit,
    values,
)
from .cluster import Cluster
from .test_actors import assert_in_order, call, make


def kill_head_often(sim: Cluster, times: int, within: int) -> None:
    """Kill it at a random one of the next messages, and again at one of those after its return."""
    choose = sim.world.random
    sim.kill_head(choose.randrange(within), choose.uniform(0.02, 1.5))
    if times > 1:
        resume = sim.server.died

        def again() -> None:
            resume()
            sim.world.after(1.6, lambda: kill_head_often(sim, times - 1, within))

        sim.server.died = again


def test_actors_made_meanwhile_live_once(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    kill_head_often(sim, 3, 40)
    handles = []
    for i in range(12):
        handles.append(make((driver, other)[i % 2], max_restarts=-1, max_task_retries=-1))
        sim.world.run_for(sim.world.random.uniform(0.0, 0.2))
    calls = [
        x for i, h in enumerate(handles) for x in call((driver, other)[i % 2], h, "note", (i, 0))
    ]
    mine, theirs = calls[::2], calls[1::2]
    assert len(values(sim, driver, mine) + values(sim, other, theirs)) == 12
    sim.world.run_for(6.0)
    there = [w.actor.spec.actor for _, w in sim.workers() if w.actor is not None]
    assert len(there) == len(set(there)) == 12, sim.world.tail()
    assert sim.server.head.actors.table.counts[actors.ALIVE] == 12
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, calls, mine, theirs)


def test_tasks_and_calls_go_on_without_it(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver)
    values(sim, driver, call(driver, handle, "note", (0, 0)))
    first = submit(driver, "fibonacci", [(6,)])
    values(sim, driver, first)
    sim.kill_head(0, 5.0)
    sim.world.run(lambda: not sim.server.alive, 2.0)
    calls = call(driver, handle, "note", *((0, i) for i in range(1, 30)))
    refs = submit(driver, "short", [(i,) for i in range(60)], retries=0)
    assert values(sim, driver, refs, 3.0) == list(range(60))
    assert [i for _, i in values(sim, driver, calls, 3.0)] == list(range(1, 30))
    assert not sim.server.alive
    assert_in_order(sim)
    handle.lifeline = None
    handle = None
    nothing_left(sim, first, refs, calls, after=9.0)


def test_workers_and_nodes_die_while_it_is_gone(sim: Cluster) -> None:
    driver = sim.driver(1)
    handles = [make(driver, max_restarts=-1, max_task_retries=-1) for _ in range(6)]
    refs = submit(driver, "mixed", [(i,) for i in range(60)], retries=-1)
    kill_head_often(sim, 2, 30)
    node = sim.nodes[sim.world.random.choice([2, 3])]
    for _ in range(4):
        sim.world.after(
            sim.world.random.uniform(0.0, 2.0), lambda: sim.kill_random_worker(actors=True)
        )
    sim.world.after(sim.world.random.uniform(0.0, 2.0), lambda: sim.kill_node(node))
    calls = [x for h in handles for x in call(driver, h, "note", *((0, i) for i in range(5)))]
    assert values(sim, driver, refs, 40.0) == list(range(60))
    assert len(values(sim, driver, calls, 40.0)) == 30
    # From its last return on, which may be late: heartbeats alone bring it to its last message.
    sim.world.run(lambda: node.number not in sim.server.head.nodes.alive, RETURN_S + 30.0)
    sim.world.run_for(2.0)
    there = [w.actor.spec.actor for _, w in sim.workers() if w.actor is not None]
    assert len(there) == len(set(there)) == 6, sim.world.tail()
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, refs, calls)


def test_a_driver_that_ends_meanwhile_takes_its_actors_with_it(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    kept, lost = make(driver, detached=True, name="kept"), make(other)
    values(sim, driver, call(driver, kept, "note", (0, 0)))
    values(sim, other, call(other, lost, "note", (1, 0)))
    sim.kill_head(0, sim.world.random.uniform(0.1, 1.0))
    sim.world.run(lambda: not sim.server.alive, 2.0)
    lost = None
    sim.kill_driver(other)
    sim.world.run_for(4.0)
    table = sim.server.head.actors.table
    counts = {state: count for state, count in table.counts.items() if count}
    assert counts == {actors.ALIVE: 1, actors.DEAD: 1}, sim.world.tail()
    found = table.named("sim", "kept")
    assert found is not None
    assert found.id == kept.actor
    assert sorted(row.alive for row in sim.server.head.jobs.rows()) == [False, True]
    assert values(sim, driver, call(driver, kept, "note", (0, 1)))
    with driver.turn():
        driver.kill(kept)
        driver.settle()
    kept = None
    nothing_left(sim)


def test_groups_stay_where_they_are(sim: Cluster) -> None:
    driver = sim.driver(1)
    kill_head_often(sim, 2, 20)
    groups = make_groups(sim, driver, 12.0)
    sim.world.run_for(4.0)
    told = [driver.groups[x].nodes for x in groups]
    rows = {row.group: row for row in sim.server.head.groups.rows()}
    assert [rows[x].nodes for x in groups] == told
    held = sorted((n.number, x) for n in sim.nodes.values() for x in n.raylet.bundles.groups())
    placed = {(number, x) for x, nodes in zip(groups, told, strict=True) for number in nodes}
    assert held == sorted(placed)
    remove_groups(sim, driver, groups)


def test_what_is_asked_is_answered_once(sim: Cluster) -> None:
    driver = sim.driver(2)
    kill_head_often(sim, 3, 12)
    put_each_once(sim, driver, 30, 30.0)
    sim.world.run_for(4.0)
    assert len(sim.server.head.kv.keys("s", b"")) == 30
    nothing_left(sim)


def test_names_go_to_one_actor_only(sim: Cluster) -> None:
    drivers = [sim.driver(n) for n in (1, 2, 3)]
    kill_head_often(sim, 2, 10)
    found = [routine(sim, d, lambda d=d: d.named("plain", name="the one"), 20.0) for d in drivers]
    assert len({handle.actor for handle in found}) == 1
    found.clear()
    nothing_left(sim)


def test_if_it_stays_away_every_node_ends_in_time(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "sleeps", [(60.0, 0)])
    sim.world.run_for(1.0)
    sim.kill_head(0, None)
    sim.world.run(lambda: not sim.server.alive, 2.0)
    died = sim.world.time
    sim.world.run(lambda: not any(n.alive for n in sim.nodes.values()), 10.0)
    assert sim.world.time - died <= HEAD_PATIENCE_S + 1.0
    for node in sim.nodes.values():
        assert node.raylet.ended is not None
        assert "has not come back" in node.raylet.ended[1]
    refs.clear()


def test_a_node_that_does_not_come_back_is_given_up_and_its_actors_live_elsewhere(
    sim: Cluster,
) -> None:
    driver = sim.driver(1)
    handles = [make(driver, max_restarts=-1, max_task_retries=-1) for _ in range(6)]
    values(sim, driver, [x for h in handles for x in call(driver, h, "note", (0, 0))])
    sim.kill_head(0, 0.5)
    sim.world.run(lambda: not sim.server.alive, 2.0)
    node = sim.nodes[sim.world.random.choice([2, 3])]
    sim.silence(node.number, head_is_heard=False)
    sim.world.run(lambda: not node.alive, HEAD_PATIENCE_S + 1.0)
    # Not a moment before: what was there had one life.
    assert node.number in sim.server.head.nodes.alive
    sim.world.run(lambda: node.number not in sim.server.head.nodes.alive, 3.0)
    more = [x for h in handles for x in call(driver, h, "note", (0, 1))]
    assert len(values(sim, driver, more, 20.0)) == 6
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, more)


def test_everything_at_once(sim: Cluster) -> None:
    driver = sim.driver(1)
    kill_head_often(sim, 4, 25)
    handles = [make(driver, max_restarts=-1, max_task_retries=-1) for _ in range(4)]
    refs = submit(driver, "fibonacci", [(6,), (5,)], retries=-1)
    large = submit(driver, "large", [(i,) for i in range(6)], retries=-1)
    first = submit(driver, "first_of", [tuple(large)], retries=-1)
    calls = [x for h in handles for x in call(driver, h, "works", (0.01, 3))]
    for _ in range(3):
        sim.world.after(sim.world.random.uniform(0.0, 3.0), sim.kill_random_worker)
    assert values(sim, driver, first, 60.0) == [15]
    outcomes(sim, driver, refs, 60.0)
    assert values(sim, driver, calls, 60.0) == [[0, 1, 2]] * 4
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, refs, large, first, calls, after=9.0)
