"""Nodes that come, leave, break off from one another, or die without the head's noticing."""

from __future__ import annotations

import pytest

from rayhpc.exceptions import RayError
from rayhpc.wire.messages.cluster import HEAD_PATIENCE_S, NODE_SILENT_S
from rayhpc.wire.messages.common import Strategy

from .checks import nothing_left, outcomes, submit, values
from .cluster import Cluster
from .test_actors import call, make


def test_a_node_that_joins_takes_its_share(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "sleeps", [(0.1, i) for i in range(100)])
    sim.world.after(0.3, lambda: sim.add_node(3, 4))
    start = sim.world.time
    assert values(sim, driver, refs) == list(range(100))
    # 6 CPUs for 0.3 s, then 10 of them.
    ideal = 0.3 + (100 - 18) / 10 * 0.1
    assert sim.world.time - start < 1.3 * ideal + 0.1, sim.world.tail()
    assert any(w.core.me >> 32 == 4 for _, w in sim.workers())
    nothing_left(sim, refs)


def test_a_node_that_drains_finishes_what_it_has(sim: Cluster) -> None:
    driver = sim.driver(1)
    refs = submit(driver, "sleeps", [(0.05, i) for i in range(60)], retries=0)
    large = submit(driver, "large", [(i,) for i in range(6)], retries=3)
    node = sim.nodes[sim.world.random.choice([2, 3])]

    def drain() -> None:
        node.raylet.drain("it was asked to")
        node.settle()

    sim.world.after(sim.world.random.uniform(0.01, 0.3), drain)
    assert values(sim, driver, refs) == list(range(60))
    assert len(values(sim, driver, large)) == 6
    sim.world.run(lambda: not node.alive, 30.0)
    nothing_left(sim, refs, large)


def test_the_head_is_told_late_that_a_node_is_dead(sim: Cluster) -> None:
    driver = sim.driver(1)
    handle = make(driver, max_restarts=-1, max_task_retries=-1)
    calls = call(driver, handle, "note", *((0, i) for i in range(30)))
    refs = submit(driver, "mixed", [(i,) for i in range(60)], retries=-1)
    node = sim.nodes[sim.world.random.choice([2, 3])]
    late = sim.world.random.uniform(1.0, 20.0)
    sim.world.after(
        sim.world.random.uniform(0.0, 0.1), lambda: sim.kill_node(node, told_after=late)
    )
    assert values(sim, driver, refs, 30.0) == list(range(60))
    assert [i for _, i in values(sim, driver, calls, 30.0)] == list(range(30))
    handle.lifeline = None
    nothing_left(sim, refs, calls, after=25.0)


def test_a_link_that_breaks_between_living_nodes_leaves_no_one_waiting(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    handles = [make(driver, max_restarts=-1, max_task_retries=-1) for _ in range(4)]
    calls = [x for h in handles for x in call(driver, h, "note", *((0, i) for i in range(10)))]
    refs = submit(driver, "sleeps", [(0.05, i) for i in range(60)], retries=-1)
    large = submit(driver, "large", [(i,) for i in range(6)], retries=-1)
    theirs = submit(other, "sleeps", [(0.05, i) for i in range(60)], retries=-1)
    one, two = sim.world.random.choice([(1, 2), (1, 3), (2, 3)])
    sim.world.after(sim.world.random.uniform(0.0, 0.3), lambda: sim.cut(one, two))
    assert values(sim, driver, refs, 40.0) == list(range(60))
    assert len(values(sim, driver, calls, 40.0)) == 40
    assert len(values(sim, driver, large, 40.0)) == 6
    sim.world.run_for(10.0)
    if sim.nodes[2].alive:
        assert values(sim, other, theirs, 40.0) == list(range(60))
    assert sum(n.alive for n in sim.nodes.values()) == 2, "one of the two had to go"
    assert sim.nodes[1].alive, "the head's own node stays"
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, refs, calls, large, theirs)


def test_a_link_that_breaks_and_is_made_again_costs_nothing(sim: Cluster) -> None:
    driver = sim.driver(1)
    handles = [make(driver) for _ in range(4)]
    calls = [x for h in handles for x in call(driver, h, "note", *((0, i) for i in range(10)))]
    refs = submit(driver, "sleeps", [(0.05, i) for i in range(60)], retries=0)
    large = submit(driver, "large", [(i,) for i in range(6)], retries=0)
    for one, two in ((1, 2), (1, 3), (2, 3)):
        wait = sim.world.random.uniform(0.0, 0.3)
        sim.world.after(wait, lambda a=one, b=two: sim.interrupt(a, b))
    assert values(sim, driver, refs, 20.0) == list(range(60))
    assert len(values(sim, driver, calls, 20.0)) == 40
    assert len(values(sim, driver, large, 20.0)) == 6
    sim.world.run_for(10.0)
    assert all(n.alive for n in sim.nodes.values())
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, refs, calls, large)


@pytest.mark.parametrize("how", ["stopped", "not heard", "cut off unseen"])
def test_a_node_that_was_declared_dead_ends_before_its_actors_are_two(
    sim: Cluster, how: str
) -> None:
    driver = sim.driver(1)
    sim.world.run_for(0.2)  # all nodes know one another
    spread = {"max_restarts": -1, "max_task_retries": -1, "strategy": Strategy("spread")}
    handles = [make(driver, **spread) for _ in range(6)]
    calls = [x for h in handles for x in call(driver, h, "note", (0, 0))]
    values(sim, driver, calls)
    assert {n.number for n, w in sim.workers() if w.actor is not None} == {1, 2, 3}
    node = sim.nodes[sim.world.random.choice([2, 3])]
    stopped = 0.0
    if how == "stopped":
        stopped = sim.world.random.uniform(NODE_SILENT_S, 12.0)
        node.stop(stopped)
    else:
        sim.silence(node.number, head_is_heard=how == "not heard")

    def live_once() -> bool:
        living = [w.actor.spec.actor for _, w in sim.workers() if w.actor is not None]
        # Nobody ends the processes of a raylet that is itself stopped.
        assert stopped or len(living) == len(set(living)), sim.world.tail()
        return True

    # From the last word that the head has heard: at latest then it has declared the node dead.
    sim.world.run(
        lambda: live_once() and node.number not in sim.head.nodes.alive, NODE_SILENT_S + 2.0
    )
    sim.world.run(
        lambda: live_once() and not node.alive,
        max(HEAD_PATIENCE_S - NODE_SILENT_S, stopped) + 1.0,
    )
    more = [x for h in handles for x in call(driver, h, "note", (0, 1))]
    values(sim, driver, more, 30.0)
    there = [w.actor.spec.actor for _, w in sim.workers() if w.actor is not None]
    assert len(there) == len(set(there)) == 6
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, calls, more)


def test_all_other_nodes_die_one_after_the_other(sim: Cluster) -> None:
    driver = sim.driver(1)
    refs = submit(driver, "fibonacci", [(6,)], retries=-1)
    large = submit(driver, "large", [(i,) for i in range(6)], retries=-1)
    first = submit(driver, "first_of", [tuple(large)], retries=-1)
    for number in (2, 3):
        sim.world.after(
            sim.world.random.uniform(0.0, 0.1), lambda n=number: sim.kill_node(sim.nodes[n])
        )
    found = outcomes(sim, driver, refs, 60.0)
    # An inner task has only its default retries; mostly they suffice.
    assert found == [8] or isinstance(found[0], RayError)
    assert values(sim, driver, first, 60.0) == [15]
    nothing_left(sim, refs, large, first)
