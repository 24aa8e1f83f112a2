"""Bytes between processes: bounded, in order, and nobody is held up by another's full window."""

from __future__ import annotations

from typing import Any

import pytest

from rayhpc.wire import limits
from rayhpc.wire.address import process_of

from .checks import nothing_left, submit, values
from .cluster import Cluster
from .test_actors import assert_in_order, call, lent, make

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


KINDS: list[dict[str, Any]] = [{}, {"concurrency": 3}, {"concurrency": 3, "is_async": True}]


@pytest.mark.parametrize("options", KINDS, ids=["sync", "threaded", "async"])
def test_an_actor_keeps_few_replies_for_a_caller_that_does_not_read_them(
    narrow: Cluster, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    sim = narrow
    monkeypatch.setattr(limits, "AHEAD_BYTES", 3 * FEW)
    stopped, other = sim.driver(1), sim.driver(2)
    handle = make(stopped, **options)
    handles = [handle, lent(sim, stopped, handle, other)]
    values(sim, stopped, warm := call(stopped, handle, "echo", (1,)))
    # Fifteen small calls are there before the first reply is.
    refs = call(stopped, handle, "report", *((1, i, 900) for i in range(15)))
    sim.world.stop(stopped.core.me)
    for turn in range(5):
        found = call(other, handles[1], "report", *((2, 20 * turn + i, 50) for i in range(5)))
        assert values(sim, other, found) == [bytes([20 * turn + i]) * 50 for i in range(5)]
        found.clear()
    begun = [number for _, key, number in sim.world.noted if key == 1]
    assert len(begun) < 15, "memory is filled for a caller that does not read"
    sim.world.go_on(stopped.core.me)
    assert values(sim, stopped, refs) == [bytes([i]) * 900 for i in range(15)]
    if not options:
        assert_in_order(sim)
    handle = None  # type: ignore[assignment]
    nothing_left(sim, handles, warm, refs)
