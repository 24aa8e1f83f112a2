"""Actors whose calls run beside each other: readiness, groups, lent CPUs, cancels, deaths."""

from __future__ import annotations

from typing import Any

import pytest

from rayhpc.exceptions import RayError, TaskCancelledError
from rayhpc.wire.messages.common import UNIT

from .checks import nothing_left, outcomes, submit, values
from .cluster import Cluster
from .process import SimProcess
from .test_actors import call, make
from .test_cancel import cancel
from .user import Handle


def of_kind(sim: Cluster, driver: SimProcess, **options: Any) -> Handle:
    """An actor with threads or event loops."""
    is_async = sim.world.random.random() < 0.5
    return make(driver, is_async=is_async, concurrency=options.pop("concurrency", 3), **options)


def test_a_call_whose_arguments_are_there_waits_for_none_before_it(sim: Cluster) -> None:
    driver = sim.driver()
    handle = of_kind(sim, driver)
    late = submit(driver, "sleeps", [(5.0, 7)])
    waiting = call(driver, handle, "echo", (late[0],), (late[0], 1))
    there = call(driver, handle, "echo", *((i,) for i in range(10)))
    assert values(sim, driver, there, 2.0) == [[i] for i in range(10)]
    assert values(sim, driver, waiting, 20.0) == [[7], [7, 1]]
    handle.lifeline = None
    nothing_left(sim, late, waiting, there)


def test_large_arguments_on_their_way_hold_up_nobody(sim: Cluster) -> None:
    driver = sim.driver(2)
    handle = of_kind(sim, driver)
    large = submit(driver, "large", [(i,) for i in range(9)], retries=-1)
    refs = call(driver, handle, "grow", *((ref, 10) for ref in large))
    notes = call(driver, handle, "note", *((0, i) for i in range(20)))
    assert [i for _, i in values(sim, driver, notes)] == list(range(20))
    found = values(sim, driver, refs)
    assert [int.from_bytes(bytes(x[:8]), "big") for x in found] == [i + 10 for i in range(9)]
    found.clear()
    handle.lifeline = None
    nothing_left(sim, large, refs, notes)


def test_no_more_run_at_a_time_than_a_group_allows(sim: Cluster) -> None:
    driver = sim.driver()
    handle = of_kind(sim, driver, groups={"io": 2})
    values(sim, driver, call(driver, handle, "echo", (1,)))
    start = sim.world.time
    with driver.turn():
        refs = [driver.call(handle, "wait_for", 0.1, group="io") for _ in range(6)]
        refs += [driver.call(handle, "wait_for", 0.1) for _ in range(6)]
        driver.settle()
    assert values(sim, driver, refs) == [0.1] * 12
    assert 0.3 <= sim.world.time - start < 0.5
    handle.lifeline = None
    nothing_left(sim, refs)


def test_threads_that_wait_at_the_same_time_lend_one_cpu(seed: int) -> None:
    sim = Cluster(seed, nodes=1, cpus=1)
    driver = sim.driver()
    handle = of_kind(sim, driver, holding={"CPU": UNIT})
    random = sim.world.random
    calls: list[Any] = []
    tasks: list[Any] = []
    for _ in range(6):
        calls += call(driver, handle, "works", (random.choice([0.01, 0.3]), random.choice([1, 2])))
        tasks += submit(driver, "sleeps", [(random.choice([0.01, 0.2]), 0)])
        sim.world.run_for(random.choice([0.0, 0.02, 0.1]))
    values(sim, driver, calls, 20.0)
    # It holds the only CPU while none of its threads waits: the tasks left over wait for its end.
    handle.lifeline = None
    values(sim, driver, tasks, 20.0)
    try:
        nothing_left(sim, calls, tasks)
    finally:
        sim.close()


@pytest.mark.parametrize("restarts", [0, -1])
def test_cancels_and_deaths_leave_no_call_unanswered(sim: Cluster, restarts: int) -> None:
    random = sim.world.random
    driver = sim.driver()
    handle = of_kind(sim, driver, max_restarts=restarts, max_task_retries=restarts)
    late = submit(driver, "sleeps", [(0.05, 7)], retries=-1)
    large = submit(driver, "large", [(1,)], retries=-1)
    refs: list[Any] = []
    for i in range(30):
        method, *args = random.choice(
            [
                ("echo", random.choice([i, late[0], large[0]])),
                ("wait_for", random.choice([0.001, 0.05])),
                ("works", 0.01, 2),
            ]
        )
        refs += call(driver, handle, method, tuple(args))
        args = []
        if random.random() < 0.3:
            cancel(driver, [random.choice(refs)])
        sim.world.run_for(random.choice([0.0, 0.002, 0.02]))
        if random.random() < 0.05:
            sim.kill_random_worker(actors=True)
    found = outcomes(sim, driver, refs)
    assert all(isinstance(x, (RayError, list, float)) for x in found)
    if restarts:
        errors = [x for x in found if isinstance(x, RayError)]
        assert all(isinstance(x, TaskCancelledError) for x in errors), errors
    found.clear()
    handle.lifeline = None
    errors = []
    nothing_left(sim, late, large, refs)
