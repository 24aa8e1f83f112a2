"""Large results of actors' calls whose nodes die: made again while there are retries."""

from __future__ import annotations

from typing import Any

import pytest

from rayhpc.exceptions import (
    ActorDiedError,
    ObjectReconstructionFailedMaxAttemptsExceededError,
)
from rayhpc.runtime.owner.entries import PENDING, STORED
from rayhpc.wire.messages.common import UNIT, Strategy

from .checks import nothing_left, outcomes, submit, values
from .cluster import Cluster
from .node import SimNode
from .process import SimProcess
from .test_actors import call, make
from .user import Handle


def numbers(found: list[Any]) -> list[int]:
    return [int.from_bytes(bytes(x[:8]), "big") for x in found]


def far_actor(sim: Cluster, driver: SimProcess, **options: Any) -> Handle:
    """An actor on node 2 or 3 for as long as there is room."""
    node = sim.nodes[sim.world.random.choice([2, 3])]
    where = Strategy("node", node.raylet.config.node_id, soft=True)
    return make(driver, strategy=where, **options)


def node_of_actor(sim: Cluster) -> SimNode:
    (node,) = {n.number: n for n, w in sim.workers() if w.actor is not None}.values()
    return node


def test_lost_results_are_made_again_by_the_actor(sim: Cluster) -> None:
    driver = sim.driver(1)
    handle = far_actor(sim, driver, max_restarts=-1, max_task_retries=-1)
    blobs = call(driver, handle, "blob", *((i,) for i in range(4)))
    grown = call(driver, handle, "grow", *((blob, 10) for blob in blobs))
    outcomes(sim, driver, submit(driver, "first_of", [(blob,) for blob in grown], retries=-1))
    late = sim.world.random.choice([None, None, 2.0])
    sim.kill_node(node_of_actor(sim), told_after=late)
    sim.world.run_for(sim.world.random.choice([0.0, 0.02, 0.3]))
    again = call(driver, handle, "grow", *((blob, 100) for blob in grown))
    notes = call(driver, handle, "note", (0, 0), (0, 1))
    assert numbers(values(sim, driver, again)) == [110, 111, 112, 113]
    assert [i for _, i in values(sim, driver, notes)] == [0, 1]
    assert numbers(values(sim, driver, blobs)) == [0, 1, 2, 3]
    assert numbers(values(sim, driver, grown)) == [10, 11, 12, 13]
    handle.lifeline = None
    nothing_left(sim, blobs, grown, again, notes, after=6.0)


def test_a_call_that_runs_waits_for_what_its_actor_must_make_again(sim: Cluster) -> None:
    """The actor holds a call whose argument was lost: what makes that one goes first."""
    driver = sim.driver(1)
    handle = far_actor(sim, driver, max_restarts=-1, max_task_retries=-1)
    (blob,) = blobs = call(driver, handle, "blob", (5,))
    sim.world.run(lambda: driver.core.ownership.table[blob.binary()].state != PENDING, 10.0)
    refs = call(driver, handle, "wait_for", (0.05,))
    refs += call(driver, handle, "grow", (blob, 1), (blob, 2))
    blob = None
    sim.world.run_for(0.02)
    sim.kill_node(node_of_actor(sim))
    assert numbers(values(sim, driver, refs[1:])) == [6, 7]
    handle.lifeline = None
    nothing_left(sim, refs, blobs)


@pytest.mark.parametrize("retries", [1, 2])
def test_each_time_costs_a_retry(sim: Cluster, retries: int) -> None:
    driver = sim.driver(1)
    two = {"CPU": 2 * UNIT}
    here = Strategy("node", sim.nodes[1].raylet.config.node_id)
    blocker = make(driver, strategy=here, placing=two, holding=two)
    values(sim, driver, call(driver, blocker, "note", (0, 0)))
    options = {"max_restarts": -1, "max_task_retries": retries}
    handle = make(driver, placing=two, holding=two, **options)
    (blob,) = blobs = call(driver, handle, "blob", (7,))
    entry = driver.core.ownership.table[blob.binary()]
    blob = None
    for left in range(retries, -1, -1):
        sim.add_node(len(sim.nodes), 2)
        sim.world.run(lambda: entry.state == STORED, 10.0)
        assert entry.task.retries == left
        assert entry.value != 1
        sim.kill_node(sim.nodes[entry.value])
        sim.world.run(lambda: entry.state != STORED, 10.0)
    entry = None
    (found,) = outcomes(sim, driver, blobs)
    assert isinstance(found, ObjectReconstructionFailedMaxAttemptsExceededError)
    assert "blob() has no retries left" in str(found)
    blocker.lifeline = handle.lifeline = None
    nothing_left(sim, blobs)


def test_an_actor_that_is_dead_makes_nothing_again(sim: Cluster) -> None:
    driver = sim.driver(1)
    handle = far_actor(sim, driver, max_task_retries=-1)
    blobs = call(driver, handle, "blob", (7,), (8,))
    callers = driver.core.callers
    sim.world.run(lambda: not list(callers.unfinished()) and not callers.inbox, 10.0)
    sim.kill_node(node_of_actor(sim))
    sim.world.run_for(sim.world.random.choice([0.0, 1.0]))
    for found in outcomes(sim, driver, blobs):
        assert isinstance(found, ActorDiedError), found
        assert "cannot be made again" in str(found)
    handle.lifeline = None
    nothing_left(sim, blobs)


def test_results_keep_no_actor_alive(sim: Cluster) -> None:
    driver = sim.driver(1)
    handle = far_actor(sim, driver, max_restarts=-1, max_task_retries=-1, holding={"CPU": UNIT})
    large = submit(driver, "large", [(3,)], retries=-1)
    blobs = call(driver, handle, "blob", (7,)) + call(driver, handle, "grow", (large[0], 1))
    large.clear()
    handle.lifeline = None
    sim.world.run_for(1.0)
    assert not [w for _, w in sim.workers() if w.actor is not None]
    assert numbers(values(sim, driver, blobs)) == [7, 4]
    nothing_left(sim, blobs)
