"""What makes an argument needs what waits for it holds: arguments come before resources."""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.owner.entries import PENDING, STORED
from rayhpc.wire.messages.common import UNIT

from .checks import nothing_left, submit, values
from .cluster import Cluster
from .process import SimProcess
from .test_actors import call, make

X = {"CPU": UNIT, "x": UNIT}


def large(sim: Cluster, driver: SimProcess, count: int = 1) -> list[Any]:
    """Large values, made on the one node that has x."""
    refs = submit(driver, "large", [(i,) for i in range(count)], resources=X, retries=-1)
    table = driver.core.ownership.table
    sim.world.run(lambda: all(table[x.binary()].state == STORED for x in refs), 20.0)
    return refs


def replace(sim: Cluster) -> None:
    """The node that has x dies; another one comes, now or later."""
    sim.kill_node(next(x for x in sim.nodes.values() if "x" in x.raylet.pool.total and x.alive))
    sim.world.run_for(sim.world.random.choice([0.0, 0.01, 0.2]))
    sim.add_node(len(sim.nodes), 2, x=1)


def test_a_restarted_actor_waits_for_an_argument_made_with_what_it_holds(sim: Cluster) -> None:
    driver = sim.driver(1)
    sim.add_node(len(sim.nodes), 2, x=1)
    blobs = large(sim, driver)
    options = {"placing": X, "holding": {"x": UNIT}, "max_restarts": -1, "max_task_retries": -1}
    handle = make(driver, *blobs, **options)
    (first,) = values(sim, driver, call(driver, handle, "argument", ()))
    replace(sim)
    refs = call(driver, handle, "argument", ())
    (second,) = values(sim, driver, refs)
    assert bytes(first[:8]) == bytes(second[:8])
    first = second = None
    handle.lifeline = None
    nothing_left(sim, blobs, refs, after=6.0)


def test_tasks_wait_for_arguments_made_with_what_they_hold(sim: Cluster) -> None:
    """Whoever submits them does not own their arguments, and cannot wait for them first."""
    driver = sim.driver(1)
    sim.add_node(len(sim.nodes), 2, x=1)
    blobs = large(sim, driver, 3)
    gate = submit(driver, "sleeps", [(0.5, 7)])
    blobs += submit(driver, "add", [(gate[0], 1)], resources=X, retries=-1)
    is_lost = sim.world.random.random() < 0.7
    if is_lost:
        replace(sim)
    given = [([blob], "x") for blob in blobs]
    refs = submit(driver, "uses_with", given, retries=-1)
    assert driver.core.ownership.table[blobs[-1].binary()].state == PENDING
    assert values(sim, driver, refs) == [0, 1, 2, 8]
    given.clear()
    nothing_left(sim, blobs, refs, gate, after=6.0)


def test_a_task_that_is_cancelled_while_all_is_lent(sim: Cluster) -> None:
    driver = sim.driver(1)
    sim.add_node(len(sim.nodes), 2, x=1)
    gate = submit(driver, "sleeps", [(3.0, 7)])
    blobs = submit(driver, "add", [(gate[0], 1)], resources=X, retries=-1)
    outer = submit(driver, "uses_with", [([blobs[0]], "x")])
    sim.world.run_for(sim.world.random.uniform(0.05, 1.0))
    with driver.turn():
        driver.cancel(outer[0])
        driver.settle()
    assert values(sim, driver, blobs) == [8]
    nothing_left(sim, blobs, outer, gate, after=6.0)
