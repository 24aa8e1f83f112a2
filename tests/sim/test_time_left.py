"""Nodes that end when they have said: nothing that says how long it runs is lost there."""

from __future__ import annotations

from rayhpc.head.load import load_of
from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.messages.common import UNIT, Strategy
from rayhpc.wire.messages.tasks import STREAMING

from .checks import nothing_left, routine, submit, values
from .cluster import Cluster
from .node import SimNode
from .test_actors import call, make
from .test_groups import new_group, remove, wait_created
from .test_streams import items

# A request says a little more than the time it takes: for frames that are on their way.
LASTING = Strategy(seconds=0.5)
RUNS_S = 0.4


def ending(sim: Cluster, index: int, seconds: float, **more: int) -> SimNode:
    """A node that says when it ends, and does."""
    labels = {END_LABEL: str(sim.world.now() + seconds)}
    node = sim.add_node(index, 2, labels, **more)
    sim.world.after(seconds, lambda: sim.kill_node(node, "its time is over"))
    return node


def test_nothing_that_says_how_long_it_runs_is_lost_with_a_node(sim: Cluster) -> None:
    driver = sim.driver(1)
    nodes = [ending(sim, 10 + i, sim.world.random.uniform(1.5, 5.0)) for i in range(3)]
    one_by_one = [(RUNS_S, i) for i in range(80)]
    refs = submit(driver, "sleeps", one_by_one, strategy=LASTING, retries=0)
    ends = submit(driver, "streams", [(20, False)], strategy=LASTING, returns=STREAMING, retries=0)
    handles = [make(driver, i, strategy=Strategy(seconds=60.0)) for i in range(4)]
    calls = [ref for each in handles for ref in call(driver, each, "note", (0, 0), (0, 1))]
    assert values(sim, driver, refs) == list(range(80)), sim.world.tail()
    assert routine(sim, driver, items(driver, ends[0].binary())) == list(range(20))
    sim.world.run_for(6.0)
    calls += [ref for each in handles for ref in call(driver, each, "note", (0, 2))]
    values(sim, driver, calls)
    numbers = {node.number for node in nodes}
    assert not numbers & {x.node.number for x in sim.head.actors.table if x.node is not None}
    assert numbers & {process >> 32 for process, _, _ in sim.world.ran}, "they were of use"
    for each in handles:
        each.lifeline = None
    nothing_left(sim, refs, ends, calls)


def test_what_no_node_lasts_for_waits_and_says_so_until_one_comes(sim: Cluster) -> None:
    driver = sim.driver(1)
    ending(sim, 10, 30.0, wide=1)
    only_there = {"CPU": UNIT, "wide": UNIT}
    strategy = Strategy(seconds=60.0)
    refs = submit(driver, "short", [(7,)], strategy=strategy, resources=only_there)
    sim.world.run_for(2.0)
    (said,) = driver.core._warned
    assert "lasts for another 60 s" in said
    load = load_of(sim.head.nodes, sim.head.actors, sim.head.groups)
    assert [each.strategy.seconds for each in load.waiting] == [60.0]
    sim.add_node(11, 2, {END_LABEL: str(sim.world.now() + 300.0)}, wide=1)
    assert values(sim, driver, refs, 5.0) == [7]
    nothing_left(sim, refs)


def test_a_task_waits_until_its_bundle_is_on_a_node_that_lasts(sim: Cluster) -> None:
    driver = sim.driver(1)
    first = ending(sim, 10, 3.0, wide=1)
    group = new_group(driver, [{"CPU": UNIT, "wide": UNIT}])
    assert wait_created(sim, driver, group) == [first.number]
    inside = Strategy("group", group=group, bundle=0, seconds=60.0)
    refs = submit(driver, "short", [(7,)], strategy=inside, retries=0)
    sim.world.run_for(1.0)
    assert any("in their placement group" in text for text in driver.core._warned)
    second = sim.add_node(11, 2, wide=1)
    assert values(sim, driver, refs, 10.0) == [7]
    assert wait_created(sim, driver, group) == [second.number]
    remove(driver, group)
    nothing_left(sim, refs)
