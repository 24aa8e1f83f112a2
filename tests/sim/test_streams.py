"""Streaming generators: every item once and in order, whoever dies; nothing stays when dropped."""

from __future__ import annotations

from typing import Any

from rayhpc.exceptions import RayError
from rayhpc.wire.messages.tasks import STREAMING

from .checks import nothing_left, routine, submit, values
from .cluster import Cluster
from .process import SimProcess


def items(driver: SimProcess, oid: bytes, count: int = 10**9) -> Any:
    """A routine: the numbers that the first items of a generator say, or an error."""
    stream = driver.core.streams._live[oid]
    found: list[Any] = []
    while len(found) < count:
        yield lambda: bool(stream.items) or stream.is_over()
        if not stream.items:
            break
        ref = stream.items.popleft()
        driver.core.streams.took_one(stream)
        try:
            (value,) = driver.values([ref])
            found.append(int.from_bytes(bytes(value[:8]), "big"))
        except RayError as error:
            found.append(error.with_traceback(None))
        ref = value = None
    driver.core.streams.close(stream)
    return found


def start(driver: SimProcess, count: int, is_large: bool, window: int, retries: int) -> list[Any]:
    return submit(
        driver, "streams", [(count, is_large)], returns=STREAMING, window=window, retries=retries
    )


def test_items_come_in_order(sim: Cluster) -> None:
    driver = sim.driver(sim.world.random.choice([1, 2]))
    is_large = sim.world.random.random() < 0.5
    ends = start(driver, 20, is_large, sim.world.random.choice([0, 3]), 0)
    assert routine(sim, driver, items(driver, ends[0].binary())) == list(range(20))
    nothing_left(sim, ends)


def test_workers_that_die_repeat_no_item(sim: Cluster) -> None:
    driver = sim.driver()
    is_large = sim.world.random.random() < 0.5
    ends = start(driver, 20, is_large, sim.world.random.choice([0, 3]), -1)
    for i in range(3):
        sim.world.after(0.01 + 0.01 * i, sim.kill_random_worker)
    assert routine(sim, driver, items(driver, ends[0].binary())) == list(range(20))
    nothing_left(sim, ends)


def test_without_retries_the_end_is_an_error(sim: Cluster) -> None:
    driver = sim.driver()
    ends = start(driver, 50, True, 3, 0)
    sim.world.run_for(0.02)
    for _ in range(8):
        sim.kill_random_worker()
    found = routine(sim, driver, items(driver, ends[0].binary()))
    # An item may have been told whose bytes died with the worker.
    assert all(isinstance(x, RayError) or x == i for i, x in enumerate(found))
    assert isinstance(found[-1], RayError) or len(found) == 50
    found.clear()
    nothing_left(sim, ends)


def test_a_generator_that_is_dropped_runs_on_and_its_items_go(sim: Cluster) -> None:
    driver = sim.driver()
    ends = start(driver, 400, True, 4, 2)
    taken = sim.world.random.randrange(0, 8)
    assert routine(sim, driver, items(driver, ends[0].binary(), taken)) == list(range(taken))
    assert values(sim, driver, ends, 5.0) == [None]
    nothing_left(sim, ends)


def test_a_driver_that_dies_stops_its_generators(sim: Cluster) -> None:
    driver, other = sim.driver(2), sim.driver(1)
    start(driver, 10_000, True, 0, 2)
    sim.world.after(sim.world.random.uniform(0, 0.01), lambda: sim.kill_driver(driver))
    refs = submit(other, "short", [(1,)])
    sim.world.run_for(0.5)
    nothing_left(sim, refs)
