"""Cancelling tasks that wait, run, depend on others, or have children."""

from __future__ import annotations

from typing import Any

from rayhpc.exceptions import RayError, TaskCancelledError

from .checks import nothing_left, outcomes, submit, values
from .cluster import Cluster
from .process import SimProcess
from .test_actors import call, make


def cancel(driver: SimProcess, refs: list[Any], **options: Any) -> None:
    with driver.turn():
        for ref in refs:
            driver.cancel(ref, **options)
        driver.settle()


def is_cancelled(value: Any) -> bool:
    return isinstance(value, TaskCancelledError)


def test_any_task_may_be_cancelled_at_any_time(sim: Cluster) -> None:
    random = sim.world.random
    driver = sim.driver(random.choice([1, 2]))
    refs = submit(driver, "sleeps", [(random.choice([0.001, 0.2]), i) for i in range(60)])
    refs += submit(driver, "large", [(i,) for i in range(6)])
    chosen = random.sample(range(66), 25)
    for i in chosen:
        sim.world.after(random.uniform(0.0, 0.4), lambda i=i: cancel(driver, [refs[i]]))
    sim.world.run_for(0.5)
    found = outcomes(sim, driver, refs)
    for i, value in enumerate(found[:60]):
        assert value == i or (is_cancelled(value) and i in chosen), (i, value)
    assert sum(map(is_cancelled, found)) > 3
    found.clear()
    value = None
    nothing_left(sim, refs)


def test_a_task_that_runs_is_interrupted(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "sleeps", [(100.0, i) for i in range(6)])
    sim.world.run_for(1.0)
    cancel(driver, refs)
    assert all(map(is_cancelled, outcomes(sim, driver, refs, 2.0)))
    more = submit(driver, "sleeps", [(0.01, i) for i in range(12)])
    assert values(sim, driver, more, 2.0) == list(range(12))
    nothing_left(sim, refs, more)


def test_what_depends_on_a_cancelled_task_fails_with_it(sim: Cluster) -> None:
    driver = sim.driver()
    first = submit(driver, "sleeps", [(5.0, 1)])
    second = submit(driver, "add", [(first[0], 1)])
    third = submit(driver, "add", [(second[0], first[0])])
    handle = make(driver)
    calls = call(driver, handle, "echo", (first[0],), (1,))
    sim.world.run_for(sim.world.random.uniform(0.0, 0.2))
    cancel(driver, sim.world.random.choice([first, second + first]))
    found = outcomes(sim, driver, first + second + third, 3.0)
    assert all(isinstance(x, RayError) for x in found)
    assert values(sim, driver, calls[1:]) == [[1]]
    assert isinstance(outcomes(sim, driver, calls, 3.0)[0], RayError)
    handle.lifeline = None
    nothing_left(sim, first, second, third, calls)


def test_one_that_waits_for_its_argument_never_runs(sim: Cluster) -> None:
    driver = sim.driver()
    first = submit(driver, "sleeps", [(0.2, 1)])
    second = submit(driver, "add", [(first[0], 1)])
    cancel(driver, second)
    assert is_cancelled(outcomes(sim, driver, second, 1.0)[0])
    assert values(sim, driver, first) == [1]
    sim.world.run_for(0.3)
    assert len(sim.world.ran) == 1
    nothing_left(sim, first, second)


def test_children_are_cancelled_with_their_parent(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "has_children", [(4,)])
    sim.world.run_for(sim.world.random.uniform(0.0, 0.3))
    cancel(driver, refs)
    assert is_cancelled(outcomes(sim, driver, refs, 3.0)[0])
    more = submit(driver, "sleeps", [(0.01, i) for i in range(12)])
    assert values(sim, driver, more, 2.0) == list(range(12))
    nothing_left(sim, refs, more)


def test_force_ends_only_the_task_it_is_meant_for(sim: Cluster) -> None:
    driver = sim.driver()
    warm = submit(driver, "short", [(i,) for i in range(100)])
    values(sim, driver, warm)  # so that tasks are pushed far ahead
    refs = submit(driver, "sleeps", [(0.004, i) for i in range(120)], retries=0)
    chosen = sim.world.random.sample(range(120), 15)
    for i in chosen:
        sim.world.after(
            sim.world.random.uniform(0.0, 0.08), lambda i=i: cancel(driver, [refs[i]], force=True)
        )
    sim.world.run_for(0.1)
    for i, value in enumerate(outcomes(sim, driver, refs)):
        assert value == i or (i in chosen and is_cancelled(value)), (i, value)
    value = None
    nothing_left(sim, warm, refs)


def test_calls_are_cancelled_where_they_are(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver)
    refs = call(driver, handle, "wait_for", *((0.02,) for _ in range(20)))
    chosen = sim.world.random.sample(range(20), 6)
    for i in chosen:
        sim.world.after(sim.world.random.uniform(0.0, 0.3), lambda i=i: cancel(driver, [refs[i]]))
    sim.world.run_for(0.3)
    for i, value in enumerate(outcomes(sim, driver, refs)):
        assert value == 0.02 or (i in chosen and is_cancelled(value)), (i, value)
    value = None
    handle.lifeline = None
    nothing_left(sim, refs)
