"""References inside values: borrowers, chains of them, and what is left when they die."""

from __future__ import annotations

from typing import Any

from rayhpc.exceptions import RayError

from .checks import nothing_left, outcomes, routine, submit, values
from .cluster import Cluster
from .programs import LARGE
from .test_actors import call, make


def number_of(data: Any) -> int:
    """What a large or small value says."""
    return int.from_bytes(bytes(data[:8]), "big") if not isinstance(data, int) else data


def test_references_in_lists_are_borrowed_and_handed_on(sim: Cluster) -> None:
    driver = sim.driver()
    large = submit(driver, "large", [(i,) for i in range(6)])
    with driver.turn():
        refs = [driver.submit("hands_on", [ref]) for ref in large]
        refs += [driver.submit("passes_down", [ref], 3) for ref in large]
        large.clear()
        driver.settle()
    assert [number_of(x) for x in values(sim, driver, refs)] == [*range(6), *range(6)]
    nothing_left(sim, refs)


def test_references_that_tasks_return_outlive_them(sim: Cluster) -> None:
    driver = sim.driver()
    is_large = sim.world.random.random() < 0.7
    boxes = submit(driver, "makes", [(i, is_large) for i in range(8)])
    boxed = values(sim, driver, boxes)
    with driver.turn():
        boxes.clear()
        refs = [ref for pair in boxed for ref in pair]
        boxed.clear()
        driver.settle()
    sim.world.run_for(0.2)
    assert [number_of(x) for x in values(sim, driver, refs)] == [i // 2 for i in range(16)]
    nothing_left(sim, refs)


def test_several_results_keep_their_references_apart(sim: Cluster) -> None:
    driver = sim.driver()
    with driver.turn():
        pairs = [driver.submit("makes", i, True, returns=2) for i in range(6)]
        driver.settle()
    firsts = [pair[0] for pair in pairs]
    inner = values(sim, driver, firsts)
    with driver.turn():
        pairs.clear()
        firsts.clear()
        driver.settle()
    assert [number_of(x) for x in values(sim, driver, inner)] == list(range(6))
    nothing_left(sim, inner)


def test_objects_inside_objects_live_as_long_as_the_outermost(sim: Cluster) -> None:
    driver = sim.driver(sim.world.random.choice([1, 2, 3]))
    boxes = submit(driver, "nests", [(i,) for i in range(6)])
    digs = submit(driver, "digs", [([box],) for box in boxes])
    assert values(sim, driver, digs) == list(range(6))
    outers = values(sim, driver, boxes)
    with driver.turn():
        boxes.clear()
        driver.settle()
    sim.world.run_for(0.2)
    digs += submit(driver, "digs", [(outer,) for outer in outers])
    assert values(sim, driver, digs[6:]) == list(range(6))
    nothing_left(sim, digs, outers)


def test_what_the_driver_puts_travels_inside_values(sim: Cluster) -> None:
    driver = sim.driver()
    inner = routine(sim, driver, lambda: driver.put((7).to_bytes(8, "big") * (LARGE // 8)))
    outer = routine(sim, driver, lambda: driver.put([inner, "text"]))
    refs = submit(driver, "digs", [([outer],), (outer,)])
    back = submit(driver, "returns_it", [([inner],)])
    with driver.turn():
        inner = outer = None
        driver.settle()
    assert values(sim, driver, refs) == [7, 7]
    (again,) = values(sim, driver, back)
    assert number_of(values(sim, driver, again)[0]) == 7
    nothing_left(sim, refs, back, again)


def test_chains_of_borrowers_that_die(sim: Cluster) -> None:
    driver = sim.driver()
    large = submit(driver, "large", [(i,) for i in range(4)], retries=-1)
    with driver.turn():
        refs = [driver.submit("passes_down", [ref], 3, retries=-1) for ref in large]
        refs += [driver.submit("hands_on", [ref], retries=-1) for ref in large]
        large.clear()
        driver.settle()
    for i in range(6):
        sim.world.after(0.005 + 0.006 * i, sim.kill_random_worker)
    found = values(sim, driver, refs)
    assert [number_of(x) for x in found] == [*range(4), *range(4)]
    found.clear()
    nothing_left(sim, refs)


def test_owners_that_die_leave_errors_and_no_bytes(sim: Cluster) -> None:
    driver = sim.driver()
    boxes = submit(driver, "makes", [(i, True) for i in range(6)], retries=-1)
    nested = submit(driver, "nests", [(i,) for i in range(4)], retries=-1)
    for i in range(5):
        sim.world.after(0.004 + 0.004 * i, sim.kill_random_worker)
    boxed = values(sim, driver, boxes)
    for _ in range(3):
        sim.kill_random_worker()
    digs = submit(driver, "digs", [(box,) for box in values(sim, driver, nested)], retries=3)
    refs = [ref for pair in boxed for ref in pair]
    for x in outcomes(sim, driver, refs):
        assert isinstance(x, RayError) or number_of(x) in range(6)
    for x in outcomes(sim, driver, digs):
        assert isinstance(x, RayError) or x in range(4)
    boxed.clear()
    x = None
    nothing_left(sim, boxes, nested, refs, digs)


def test_nodes_die_with_borrowers_and_owners(sim: Cluster) -> None:
    driver = sim.driver(1)
    boxes = submit(driver, "makes", [(i, True) for i in range(8)], retries=-1)
    chains = submit(driver, "passes_down", [([box], 2) for box in boxes], retries=-1)
    victim = sim.nodes[sim.world.random.choice([2, 3])]
    late = sim.world.random.choice([None, None, 3.0])
    sim.world.after(
        sim.world.random.uniform(0.003, 0.05), lambda: sim.kill_node(victim, told_after=late)
    )
    found = outcomes(sim, driver, chains)
    refs: list[Any] = []
    for x in found:
        if not isinstance(x, RayError):
            refs += x
    outcomes(sim, driver, refs)
    found.clear()
    x = None
    nothing_left(sim, boxes, chains, refs, after=12.0)


def test_an_actor_keeps_a_reference_until_it_gives_it_away(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver)
    large = submit(driver, "large", [(9,)])
    refs = call(driver, handle, "keep", ([large[0]],))
    large.clear()
    assert values(sim, driver, refs) == [True]
    refs += call(driver, handle, "kept", ())
    sim.world.run_for(0.2)
    assert values(sim, driver, refs)[-1] == 9
    given = call(driver, handle, "give", ())
    (again,) = values(sim, driver, given)
    assert number_of(values(sim, driver, again)[0]) == 9
    handle.lifeline = None
    nothing_left(sim, refs, given, again)


def test_an_actor_that_dies_lets_go_of_what_it_kept(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver)
    large = submit(driver, "large", [(9,)])
    refs = call(driver, handle, "keep", ([large[0]],), ([large[0]],))
    refs += call(driver, handle, "blob", *((i,) for i in range(4)))
    large.clear()
    sim.world.after(
        sim.world.random.uniform(0.003, 0.03), lambda: sim.kill_random_worker(actors=True)
    )
    outcomes(sim, driver, refs)
    sim.kill_random_worker(actors=True)
    sim.world.run_for(0.1)
    handle.lifeline = None
    nothing_left(sim, refs)


def test_a_caller_that_dies_gets_no_references(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    handle = make(driver)
    large = submit(driver, "large", [(3,)])
    refs = call(driver, handle, "keep", ([large[0]],))
    values(sim, driver, refs)
    from .test_actors import lent

    theirs = lent(sim, driver, handle, other)
    call(other, theirs, "give", ())
    sim.world.after(sim.world.random.uniform(0, 0.01), lambda: sim.kill_driver(other))
    sim.world.run_for(0.5)
    handle.lifeline = None
    theirs = None
    nothing_left(sim, refs, large)


def test_a_large_result_of_a_worker_that_died_does_not_stay(sim: Cluster) -> None:
    driver = sim.driver()
    pairs = submit(driver, "unsteady", [(i,) for i in range(15)], retries=-1, returns=2)
    refs = [ref for pair in pairs for ref in pair]
    pairs.clear()
    # Some die with their first result in a store, and the second one not yet.
    for i in range(12):
        sim.world.after(0.006 + 0.002 * i, sim.kill_random_worker)
    assert [number_of(x) for x in values(sim, driver, refs)] == [i // 2 for i in range(30)]
    nothing_left(sim, refs)
