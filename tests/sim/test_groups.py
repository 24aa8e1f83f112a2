"""Placement groups: made, used, removed, and placed again when their nodes die."""

from __future__ import annotations

from typing import Any

from rayhpc.exceptions import RayError
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.common import UNIT, Strategy

from .checks import nothing_left, outcomes, submit, values
from .cluster import Cluster
from .process import SimProcess
from .test_actors import call, make

ONE = {"CPU": UNIT}


def new_group(driver: SimProcess, bundles: list[Any], strategy: str = "PACK") -> bytes:
    with driver.turn():
        group = driver.group(bundles, strategy)
        driver.settle()
    return group


def wait_created(sim: Cluster, driver: SimProcess, group: bytes, limit: float = 10.0) -> list[int]:
    def is_there() -> bool:
        told = driver.groups.get(group)
        return told is not None and told.state == actors.GROUP_CREATED

    sim.world.run(is_there, limit)
    return driver.groups[group].nodes


def remove(driver: SimProcess, group: bytes) -> None:
    with driver.turn():
        driver.remove_group(group)
        driver.settle()


def inside(group: bytes, bundle: int = -1) -> Strategy:
    return Strategy("group", group=group, bundle=bundle)


def test_tasks_and_actors_run_in_their_bundles(sim: Cluster) -> None:
    driver = sim.driver()
    kind = sim.world.random.choice(["PACK", "SPREAD", "STRICT_SPREAD"])
    group = new_group(driver, [ONE, ONE, ONE], kind)
    # Submitted before the group is there.
    refs = submit(driver, "sleeps", [(0.01, i) for i in range(20)], strategy=inside(group))
    handles = [make(driver, strategy=inside(group, 1), holding={})]
    calls = call(driver, handles[0], "note", (0, 0))
    nodes = wait_created(sim, driver, group)
    assert values(sim, driver, refs) == list(range(20))
    ((where, _),) = values(sim, driver, calls)
    assert where >> 32 == nodes[1]
    remove(driver, group)
    handles[0].lifeline = None
    nothing_left(sim, refs, calls)


def test_groups_that_compete_are_all_made_in_the_end(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    busy = submit(other, "sleeps", [(0.03, i) for i in range(300)])
    groups = [new_group(driver, [ONE, ONE, ONE], "SPREAD") for _ in range(4)]

    def created() -> list[bytes]:
        told = [(g, driver.groups.get(g)) for g in groups]
        return [g for g, x in told if x is not None and x.state == actors.GROUP_CREATED]

    for _ in range(4):
        sim.world.run(lambda: bool(created()), 10.0)
        done = created()[0]
        refs = submit(driver, "short", [(7,)], strategy=inside(done))
        assert values(sim, driver, refs) == [7]
        remove(driver, done)
        groups.remove(done)
    assert values(sim, other, busy) == list(range(300))
    nothing_left(sim, busy, refs)


def test_removal_ends_what_runs_and_refuses_what_waits(sim: Cluster) -> None:
    driver = sim.driver()
    group = new_group(driver, [ONE, ONE])
    refs = submit(driver, "sleeps", [(0.5, i) for i in range(8)], strategy=inside(group), retries=0)
    handle = make(driver, strategy=inside(group), holding=ONE, placing=ONE)
    calls = call(driver, handle, "wait_for", (5.0,))
    sim.world.run_for(sim.world.random.uniform(0.0, 0.8))
    remove(driver, group)
    found = outcomes(sim, driver, refs + calls, 5.0)
    assert all(isinstance(x, RayError) or x in range(8) for x in found)
    assert isinstance(found[-1], RayError)
    late = submit(driver, "short", [(1,)], strategy=inside(group))
    assert isinstance(outcomes(sim, driver, late, 5.0)[0], RayError)
    handle.lifeline = None
    nothing_left(sim, refs, calls, late)


def test_bundles_of_a_dead_node_are_placed_again(sim: Cluster) -> None:
    driver = sim.driver(1)
    group = new_group(driver, [ONE, ONE, ONE], "SPREAD")
    refs = submit(
        driver, "sleeps", [(0.02, i) for i in range(60)], strategy=inside(group), retries=-1
    )
    handle = make(driver, strategy=inside(group, 2), max_restarts=-1, max_task_retries=-1)
    calls = call(driver, handle, "note", *((0, i) for i in range(20)))
    victim = sim.nodes[sim.world.random.choice([2, 3])]
    sim.world.after(sim.world.random.uniform(0.0, 0.3), lambda: sim.kill_node(victim))
    assert values(sim, driver, refs, 30.0) == list(range(60))
    assert [i for _, i in values(sim, driver, calls, 30.0)] == list(range(20))
    assert victim.number not in wait_created(sim, driver, group)
    remove(driver, group)
    handle.lifeline = None
    nothing_left(sim, refs, calls)


def test_the_end_of_its_driver_ends_a_group(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    group = new_group(driver, [ONE, ONE, ONE], "SPREAD")
    submit(driver, "sleeps", [(0.2, i) for i in range(8)], strategy=inside(group))
    sim.world.run_for(sim.world.random.uniform(0.0, 0.3))
    sim.kill_driver(driver)
    refs = submit(other, "sleeps", [(0.01, i) for i in range(30)])
    assert values(sim, other, refs, 5.0) == list(range(30))
    nothing_left(sim, refs)


def test_a_group_that_nothing_can_hold_is_warned_of(sim: Cluster) -> None:
    driver = sim.driver()
    group = new_group(driver, [{"CPU": 64 * UNIT}])
    sim.world.run_for(1.0)
    assert any("64" in text for text in driver.core._warned), driver.core._warned
    fits_later = new_group(driver, [{"CPU": 2 * UNIT}] * 3)
    blocked = new_group(driver, [{"CPU": 2 * UNIT}])
    sim.world.run_for(1.0)
    assert len(driver.core._warned) == 1, driver.core._warned
    for one in (group, fits_later, blocked):
        remove(driver, one)
    nothing_left(sim)
