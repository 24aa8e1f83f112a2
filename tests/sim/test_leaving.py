"""Workers that end in order: what they said last counts, however fast their end becomes known."""

from __future__ import annotations

from typing import Any

import pytest

from rayhpc.exceptions import ActorDiedError, WorkerCrashedError
from rayhpc.wire.messages import actors

from .checks import nothing_left, outcomes, routine, submit
from .cluster import Cluster
from .test_actors import call, lent, make

LANES: list[dict[str, Any]] = [{}, {"concurrency": 2}, {"is_async": True, "concurrency": 2}]


@pytest.mark.parametrize("lanes", LANES, ids=["plain", "threaded", "async"])
@pytest.mark.parametrize("kind", ["failing", "leaving"])
def test_why_a_constructor_did_not_return_is_told(
    sim: Cluster, kind: str, lanes: dict[str, Any]
) -> None:
    driver = sim.driver(2)
    given = routine(sim, driver, lambda: driver.put(b"x" * 200_000))
    handle = make(driver, [given], kind=kind, max_restarts=2, **lanes)
    given = [given]
    refs = call(driver, handle, "note", (0, 0), (0, 1))
    why = "always fails" if kind == "failing" else "this constructor leaves"
    for one in outcomes(sim, driver, refs):
        assert isinstance(one, ActorDiedError), one
        assert why in str(one), f"{one}\n{sim.world.tail()}"
    handle.lifeline = None
    nothing_left(sim, refs, given)


@pytest.mark.parametrize("how", ["leave", "exit"])
def test_an_actor_that_leaves_has_answered_what_it_ran(sim: Cluster, how: str) -> None:
    drivers = [sim.driver(1), sim.driver(2)]
    handle = make(drivers[0], max_restarts=1)
    handles = [handle, lent(sim, drivers[0], handle, drivers[1])]
    sim.world.noted.clear()
    refs = [
        call(d, h, "note", *((k, i) for i in range(20)))
        for k, (d, h) in enumerate(zip(drivers, handles, strict=True))
    ]
    last = call(drivers[0], handle, how, ())
    first = outcomes(sim, drivers[0], refs[0])
    assert [x for x in first if isinstance(x, ActorDiedError)] == [], sim.world.tail()
    (end,) = outcomes(sim, drivers[0], last)
    if how == "leave":
        assert isinstance(end, ActorDiedError)
        assert "it has left" in str(end), f"{end}\n{sim.world.tail()}"
        assert [a.state for a in sim.head.actors.table] == [actors.DEAD]
    ran = {number for _, key, number in sim.world.noted if key == 1}
    # Those of the other caller that were begun had ended before it left.
    answered = {x[1] for x in outcomes(sim, drivers[1], refs[1]) if isinstance(x, tuple)}
    assert ran == answered, sim.world.tail()
    for one in handles:
        one.lifeline = None
    handle = one = None
    nothing_left(sim, handles, last, *refs)


def test_a_task_that_exits_takes_nobody_along(sim: Cluster) -> None:
    driver = sim.driver()
    refs: list[Any] = []
    for i in range(60):
        refs += submit(driver, "exits" if i % 7 == 3 else "short", [(i,)], retries=0)
    found = outcomes(sim, driver, refs)
    for i, one in enumerate(found):
        assert isinstance(one, WorkerCrashedError) if i % 7 == 3 else one == i, sim.world.tail()
    nothing_left(sim, refs)
