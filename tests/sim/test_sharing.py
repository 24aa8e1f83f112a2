"""Who gets the CPUs: makespan, fairness between drivers, tasks that wait, what is called back."""

from __future__ import annotations

import heapq

import pytest

from rayhpc.wire.messages.common import UNIT

from .checks import nothing_left, submit, values
from .cluster import Cluster
from .test_actors import call, make

CPUS = 6


def ideal(lengths: list[float], cpus: int = CPUS) -> float:
    """How long the tasks take if each goes, in order, to the CPU that is free first."""
    ends = [0.0] * cpus
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


@pytest.mark.parametrize("kind", ["equal", "mixed", "one is long", "short then long"])
def test_tasks_finish_soon_after_the_ideal_time(sim: Cluster, kind: str) -> None:
    random = sim.world.random
    lengths = {
        "equal": [0.1] * 60,
        "mixed": [random.choice([0.01, 0.05, 0.2, 0.4]) for _ in range(80)],
        "one is long": [1.0, *[0.02] * 150],
        "short then long": [*[0.001] * 300, *[0.3] * 12],
    }[kind]
    driver = sim.driver(random.choice([1, 2, 3]))
    warm = submit(driver, "sleeps", [(0.02, 0) for _ in range(12)])
    values(sim, driver, warm)
    start = sim.world.time
    refs = submit(driver, "sleeps", [(length, i) for i, length in enumerate(lengths)])
    assert values(sim, driver, refs) == list(range(len(lengths)))
    took = sim.world.time - start
    # 50 ms for the first leases.
    assert took <= 1.3 * ideal(lengths) + 0.05, (took, ideal(lengths))
    nothing_left(sim, warm, refs)


def test_no_driver_starves(sim: Cluster) -> None:
    first = sim.driver(1)
    greedy = submit(first, "sleeps", [(0.05, i) for i in range(400)])
    sim.world.run_for(0.3)
    others = [sim.driver(n) for n in (1, 2, 3)]
    starts = sim.world.time
    mine = [submit(d, "sleeps", [(0.05, i) for i in range(20)]) for d in others]
    for driver, refs in zip(others, mine, strict=True):
        assert values(sim, driver, refs, 10.0) == list(range(20))
    # 4 drivers share 6 CPUs: 60 tasks of 50 ms on at least 3 of them.
    assert sim.world.time - starts < 2.0, sim.world.tail()
    assert values(sim, first, greedy) == list(range(400))
    nothing_left(sim, greedy, *mine)


def test_a_wide_request_is_served_among_narrow_ones(sim: Cluster) -> None:
    narrow, wide = sim.driver(1), sim.driver(sim.world.random.choice([1, 2, 3]))
    many = submit(narrow, "sleeps", [(0.03, i) for i in range(400)])
    sim.world.run_for(0.2)
    start = sim.world.time
    refs = submit(wide, "sleeps", [(0.01, i) for i in range(3)], resources={"CPU": 2 * UNIT})
    assert values(sim, wide, refs, 10.0) == [0, 1, 2]
    assert sim.world.time - start < 1.5, sim.world.tail()
    assert values(sim, narrow, many) == list(range(400))
    nothing_left(sim, many, refs)


def test_an_actor_gets_a_cpu_though_all_are_leased(sim: Cluster) -> None:
    driver = sim.driver(1)
    many = submit(driver, "sleeps", [(0.02, i) for i in range(600)])
    sim.world.run_for(0.2)
    start = sim.world.time
    handle = make(driver, holding={"CPU": UNIT})
    refs = call(driver, handle, "note", (0, 0))
    values(sim, driver, refs, 5.0)
    assert sim.world.time - start < 1.0, sim.world.tail()
    assert values(sim, driver, many) == list(range(600))
    handle.lifeline = None
    nothing_left(sim, many, refs)


def test_recursion_and_other_drivers_both_get_on(sim: Cluster) -> None:
    one, two = sim.driver(1), sim.driver(2)
    deep = submit(one, "fibonacci", [(7,)])
    wide = submit(two, "sleeps", [(0.01, i) for i in range(150)])
    assert values(sim, one, deep, 20.0) == [13]
    assert values(sim, two, wide, 20.0) == list(range(150))
    nothing_left(sim, deep, wide)


def test_deep_recursion_on_one_cpu_finishes(seed: int) -> None:
    sim = Cluster(seed, nodes=1, cpus=1)
    try:
        driver = sim.driver(1)
        refs = submit(driver, "passes_down", [([submit(driver, "short", [(5,)])[0]], 12)])
        assert values(sim, driver, refs, 20.0) == [5]
        nothing_left(sim, refs)
    finally:
        sim.close()


def test_what_waits_behind_a_long_task_is_called_back(sim: Cluster) -> None:
    driver = sim.driver(1)
    short = submit(driver, "short", [(i,) for i in range(300)])
    values(sim, driver, short)  # so that tasks are thought to be short, and pushed far ahead
    start = sim.world.time
    long = submit(driver, "sleeps", [(1.0,)])
    short += submit(driver, "sleeps", [(0.0001, i) for i in range(100)])
    values(sim, driver, short)
    assert sim.world.time - start < 0.6, sim.world.tail()
    values(sim, driver, long)
    nothing_left(sim, short, long)
