"""Whole clusters under a seeded scheduler: right answers whatever dies, and nothing left over.

A failing seed is in the test's name; `pytest tests/sim -k 'seed…'` replays it, with the log.
"""

from __future__ import annotations

from collections import Counter

from rayhpc.exceptions import RayError

from .checks import nothing_left, outcomes, submit
from .cluster import Cluster


def test_many_short_tasks(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "short", [(i,) for i in range(200)])
    assert outcomes(sim, driver, refs) == list(range(200))
    nothing_left(sim, refs)


def test_workers_die_and_each_crash_has_one_victim(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "short", [(i,) for i in range(150)], retries=-1)
    for i in range(8):
        sim.world.after(0.004 * i, sim.kill_random_worker)
    assert outcomes(sim, driver, refs) == list(range(150))
    nothing_left(sim, refs)


def test_without_retries_no_more_tasks_fail_than_workers_died(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "short", [(i,) for i in range(150)], retries=0)
    kills = 5
    for i in range(kills):
        sim.world.after(0.005 + 0.004 * i, sim.kill_random_worker)
    found = outcomes(sim, driver, refs)
    failed = [x for x in found if isinstance(x, RayError)]
    # One for each death: what was sent just before, and is lost, is in the dead one's journal.
    assert len(failed) <= kills, sim.world.tail()
    assert [x for x in found if not isinstance(x, RayError)] == [
        i for i, x in enumerate(found) if not isinstance(x, RayError)
    ]
    ran = Counter(tid for _, tid, _ in sim.world.ran)
    assert max(ran.values(), default=1) == 1, "a task without retries ran twice"
    nothing_left(sim, refs)


def test_a_node_dies_and_its_work_is_done_elsewhere(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "mixed", [(i,) for i in range(60)], retries=-1)
    victim = sim.nodes[sim.world.random.choice([2, 3])]
    sim.world.after(sim.world.random.uniform(0.001, 0.1), lambda: sim.kill_node(victim))
    assert outcomes(sim, driver, refs, 120.0) == list(range(60))
    nothing_left(sim, refs)


def test_recursion_finishes_on_few_cpus(sim: Cluster) -> None:
    driver = sim.driver()
    refs = submit(driver, "fibonacci", [(7,)])
    assert outcomes(sim, driver, refs) == [13]
    nothing_left(sim, refs)


def test_chains_and_fans_of_large_objects(sim: Cluster) -> None:
    driver = sim.driver()
    large = submit(driver, "large", [(i,) for i in range(12)])
    sums = submit(driver, "first_of", [tuple(large[i : i + 3]) for i in range(10)])
    assert outcomes(sim, driver, sums) == [3 * i + 3 for i in range(10)]
    nothing_left(sim, large, sums)


def test_lost_objects_are_made_again(sim: Cluster) -> None:
    driver = sim.driver()
    large = submit(driver, "large", [(i,) for i in range(9)], retries=-1)
    first = submit(driver, "first_of", [(ref,) for ref in large], retries=-1)
    assert outcomes(sim, driver, first) == list(range(9))
    for number in sim.world.random.sample([2, 3], sim.world.random.choice([1, 2])):
        sim.kill_node(sim.nodes[number])
    again = submit(driver, "first_of", [tuple(large)], retries=-1)
    assert outcomes(sim, driver, again) == [36]
    nothing_left(sim, large, first, again)


def test_a_driver_that_dies_leaves_nothing(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    mine = submit(other, "short", [(i,) for i in range(50)])
    submit(driver, "large", [(i,) for i in range(10)])
    submit(driver, "mixed", [(i,) for i in range(30)])
    sim.world.after(sim.world.random.uniform(0.0, 0.05), lambda: sim.kill_driver(driver))
    assert outcomes(sim, other, mine) == list(range(50))
    sim.world.run_for(1.0)
    nothing_left(sim, mine)
