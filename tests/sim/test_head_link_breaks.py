"""The connection between a raylet and the head breaks, at any message, and both live.

Nothing of what was said is lost or handled twice, no task that may run once runs twice, no actor
has two lives; and a node that does not come back in time is given up as ever.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from rayhpc.head.endings import SURELY_S
from rayhpc.head.membership import REJOIN_S, RETURN_S
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.cluster import NODE_SILENT_S

from .checks import (
    make_groups,
    nothing_left,
    outcomes,
    put_each_once,
    remove_groups,
    submit,
    values,
)
from .cluster import Cluster
from .test_actors import assert_in_order, call, make
from .test_head_returns import kill_head_often

# Of the messages between raylets and the head, so many break their connection.
SHARE = 0.05


def watch_lives(sim: Cluster) -> list[str]:
    """From now on no actor lives twice at any time; what is found."""
    found: list[str] = []

    def look() -> None:
        there = [w.actor.spec.actor for _, w in sim.workers() if w.actor is not None]
        found.extend(f"{x.hex()} at {sim.world.time}" for x in set(there) if there.count(x) > 1)
        sim.world.after(0.02, look)

    look()
    return found


def runs(sim: Cluster, refs: list[Any]) -> set[int]:
    """How often the tasks or calls with these results have started."""
    ran = Counter(task for _, task, _ in sim.world.ran)
    return {ran[ref.binary()] for ref in refs}


def all_nodes_live(sim: Cluster) -> bool:
    return sorted(sim.server.head.nodes.alive) == sorted(sim.nodes)


def test_it_costs_no_node_and_nobody_notices(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    twice = watch_lives(sim)
    sim.head_links_break = SHARE
    handles = [make((driver, other)[i % 2], max_restarts=0) for i in range(6)]
    calls = [
        x for i, h in enumerate(handles) for x in call((driver, other)[i % 2], h, "note", (i, 0))
    ]
    refs = submit(driver, "mixed", [(i,) for i in range(60)], retries=0)
    large = submit(other, "large", [(i,) for i in range(6)], retries=0)
    assert values(sim, driver, refs) == list(range(60))
    assert len(values(sim, other, large)) == 6
    assert len(values(sim, driver, calls[::2]) + values(sim, other, calls[1::2])) == 6
    sim.world.run_for(6.0)
    assert all_nodes_live(sim), sim.world.tail()
    assert sim.server.head.actors.table.counts[actors.ALIVE] == 6
    assert runs(sim, [*refs, *large, *calls]) == {1}
    assert not twice
    assert_in_order(sim)
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, refs, large, calls, after=9.0)


def test_what_is_asked_is_answered_once(sim: Cluster) -> None:
    driver = sim.driver(2)
    sim.head_links_break = SHARE
    put_each_once(sim, driver, 60, 120.0)
    assert all_nodes_live(sim)
    nothing_left(sim)


def test_groups_and_what_is_free_are_what_both_ends_say(sim: Cluster) -> None:
    driver = sim.driver(1)
    sim.head_links_break = SHARE
    groups = make_groups(sim, driver, 30.0)
    sim.world.run_for(2.0)
    sim.head_links_break = 0.0
    sim.world.run_for(6.0)
    held = sorted((n.number, x) for n in sim.nodes.values() for x in n.raylet.bundles.groups())
    told = {x: driver.groups[x].nodes for x in groups}
    assert held == sorted({(number, x) for x, nodes in told.items() for number in nodes})
    for node in sim.nodes.values():
        known = sim.server.head.nodes.alive[node.number].free
        assert known["CPU"] == node.raylet.pool.free["CPU"], sim.world.tail()
    remove_groups(sim, driver, groups)


def test_a_raylet_that_dies_is_noticed_at_once_also_while_it_has_no_connection(
    sim: Cluster,
) -> None:
    driver = sim.driver(1)
    refs = submit(driver, "sleeps", [(0.5, i) for i in range(12)], retries=-1)
    sim.world.run_for(0.3)
    node = sim.nodes[sim.world.random.choice([2, 3])]
    if sim.world.random.random() < 0.5:
        node.link.reset()
        sim.world.run_for(sim.world.random.uniform(0.0, 0.05))
    sim.kill_node(node)
    sim.world.run(lambda: node.number not in sim.server.head.nodes.alive, 0.1)
    assert values(sim, driver, refs) == list(range(12))
    nothing_left(sim, refs)


def test_one_that_cannot_come_back_is_given_up_and_its_actors_live_once(sim: Cluster) -> None:
    driver = sim.driver(1)
    twice = watch_lives(sim)
    handles = [make(driver, max_restarts=-1, max_task_retries=-1) for _ in range(6)]
    values(sim, driver, [x for h in handles for x in call(driver, h, "note", (0, 0))])
    node = sim.nodes[sim.world.random.choice([2, 3])]
    node.link.is_cut_off = True
    node.link.reset()
    begin = sim.world.time
    sim.world.run(lambda: node.number not in sim.server.head.nodes.alive, NODE_SILENT_S + 1.0)
    assert sim.world.time - begin >= min(REJOIN_S, NODE_SILENT_S)
    node.link.is_cut_off = sim.world.random.random() < 0.5
    sim.world.run(lambda: not node.alive, SURELY_S)
    more = [x for h in handles for x in call(driver, h, "note", (0, 1))]
    assert len(values(sim, driver, more, 20.0)) == 6
    assert not twice
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, more)


def test_one_whose_machine_does_not_answer_is_given_up_in_time(sim: Cluster) -> None:
    driver = sim.driver(1)
    refs = submit(driver, "sleeps", [(0.5, i) for i in range(12)], retries=-1)
    sim.world.run_for(0.3)
    node = sim.nodes[sim.world.random.choice([2, 3])]
    sim.kill_node(node, is_refused=False)
    sim.world.run(lambda: node.number not in sim.server.head.nodes.alive, REJOIN_S + 0.2)
    assert values(sim, driver, refs) == list(range(12))
    nothing_left(sim, refs)


def test_everything_at_once(sim: Cluster) -> None:
    driver = sim.driver(1)
    twice = watch_lives(sim)
    sim.head_links_break = SHARE
    kill_head_often(sim, 2, 40)
    handles = [make(driver, max_restarts=-1, max_task_retries=-1) for _ in range(4)]
    refs = submit(driver, "fibonacci", [(6,), (5,)], retries=-1)
    once = submit(driver, "short", [(i,) for i in range(40)], retries=0)
    calls = [x for h in handles for x in call(driver, h, "works", (0.01, 3))]
    node = sim.nodes[sim.world.random.choice([2, 3])]
    sim.world.after(sim.world.random.uniform(0.5, 4.0), lambda: sim.kill_node(node))
    for _ in range(3):
        sim.world.after(
            sim.world.random.uniform(0.0, 3.0), lambda: sim.kill_random_worker(actors=True)
        )
    outcomes(sim, driver, refs, 60.0)
    outcomes(sim, driver, once, 60.0)
    assert values(sim, driver, calls, 60.0) == [[0, 1, 2]] * 4
    assert runs(sim, once) <= {0, 1}
    sim.head_links_break = 0.0
    # From the head's last return on, which may be late: heartbeats alone bring it to its death.
    sim.world.run(lambda: node.number not in sim.server.head.nodes.alive, RETURN_S + 30.0)
    sim.world.run_for(2.0)
    assert sorted(sim.server.head.nodes.alive) == sorted(set(sim.nodes) - {node.number})
    assert not twice
    for handle in handles:
        handle.lifeline = None
    handle = None
    handles.clear()
    nothing_left(sim, refs, once, calls, after=9.0)
