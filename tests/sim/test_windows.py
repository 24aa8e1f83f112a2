"""Bytes between processes: bounded, in order, and nobody is held up by another's full window."""

from __future__ import annotations

from typing import Any

import pytest

from rayhpc.wire.address import process_of

from .checks import nothing_left, submit, values
from .cluster import Cluster
from .test_actors import call, make

FEW = 2000


@pytest.fixture
def narrow(sim: Cluster) -> Cluster:
    """A cluster in which little may be on its way."""
    sim.world.window = FEW
    return sim


def test_callers_and_actors_with_full_windows_on_both_ways_go_on(narrow: Cluster) -> None:
    sim = narrow
    drivers = [sim.driver(n) for n in (1, 2, 3)]
    handles = [make(d) for d in drivers for _ in range(2)]
    blob = bytes(700)
    refs: list[list[Any]] = []
    for i, handle in enumerate(handles):
        refs.append(call(drivers[i // 2], handle, "echo", *((blob, k) for k in range(60))))
    for i, found in enumerate(refs):
        assert values(sim, drivers[i // 2], found) == [[blob, k] for k in range(60)]
    # The last frame may exceed a window: a batch, or a reply with some results.
    assert sim.world.most_under_way < 60 * 800
    handle = found = None  # type: ignore[assignment]
    nothing_left(sim, handles, *refs)


def test_a_process_that_does_not_read_holds_up_those_who_send_to_it_alone(
    narrow: Cluster,
) -> None:
    sim = narrow
    driver = sim.driver(1)
    stuck, other = make(driver), make(driver)
    warm = [*call(driver, stuck, "echo", (1,)), *call(driver, other, "echo", (1,))]
    assert values(sim, driver, warm) == [[1], [1]]
    asleep = driver.core.callers.client_of(stuck.actor).address
    assert process_of(asleep)
    sim.world.stop(asleep)
    blob = bytes(900)
    blocked = call(driver, stuck, "echo", *((blob, k) for k in range(50)))
    for turn in range(5):
        there = call(driver, other, "echo", *((blob, k) for k in range(20)))
        assert values(sim, driver, there) == [[blob, k] for k in range(20)]
        assert values(sim, driver, submit(driver, "short", [(turn,)])) == [turn]
        there.clear()
    sim.world.run_for(8.0)  # longer than the head waits for a sign of life
    assert len([n for n in sim.nodes.values() if n.alive]) == 3
    sim.world.go_on(asleep)
    assert values(sim, driver, blocked) == [[blob, k] for k in range(50)]
    stuck = other = None  # type: ignore[assignment]
    nothing_left(sim, warm, blocked)


def test_what_waits_for_an_actor_that_dies_is_sent_again_in_order(narrow: Cluster) -> None:
    sim = narrow
    driver = sim.driver(2)
    handle = make(driver, max_restarts=-1, max_task_retries=-1)
    values(sim, driver, warm := call(driver, handle, "echo", (1,)))
    blob = bytes(900)
    refs = call(driver, handle, "echo", *((blob, k) for k in range(50)))
    sim.world.run_for(0.004)
    sim.kill_random_worker(actors=True)
    assert values(sim, driver, refs) == [[blob, k] for k in range(50)]
    handle = None  # type: ignore[assignment]
    nothing_left(sim, warm, refs)
