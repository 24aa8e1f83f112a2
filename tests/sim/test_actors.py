"""Actors in whole clusters: order per caller, deaths, restarts, lifelines, names."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

from rayhpc.exceptions import ActorDiedError, RayActorError, RayError
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.common import UNIT

from .checks import nothing_left, outcomes, routine, submit, values
from .cluster import Cluster
from .process import SimProcess
from .user import Ended, Handle


def make(driver: SimProcess, *args: Any, kind: str = "plain", **options: Any) -> Handle:
    with driver.turn():
        handle = driver.actor(kind, *args, **options)
        driver.settle()
    return handle


def call(driver: SimProcess, handle: Handle, method: str, *arguments: tuple[Any, ...]) -> list[Any]:
    with driver.turn():
        refs = [driver.call(handle, method, *args) for args in arguments]
        driver.settle()
    return refs


def lent(sim: Cluster, giver: SimProcess, handle: Handle, taker: SimProcess) -> Handle:
    """Another driver's handle, as it would come out of a value."""
    packed = routine(sim, giver, lambda: giver.put([handle]))
    with taker.turn():
        from rayhpc.runtime.values import references

        ref = references.rebuild(packed.binary(), None, False)
        taker.settle()
    (found,) = values(sim, taker, [ref])
    return found[0]


def assert_in_order(sim: Cluster) -> None:
    """In each process of an actor, each caller's calls began in their order, none twice."""
    last: dict[tuple[int, int], int] = {}
    for process, key, number in sim.world.noted:
        assert number > last.get((process, key), -1), sim.world.tail()
        last[process, key] = number


def test_calls_of_several_callers_keep_their_order(sim: Cluster) -> None:
    drivers = [sim.driver(1), sim.driver(2)]
    handle = make(drivers[0])
    handles = [handle, lent(sim, drivers[0], handle, drivers[1])]
    refs = [
        call(d, h, "note", *((k, i) for i in range(40)))
        for k, (d, h) in enumerate(zip(drivers, handles, strict=True))
    ]
    tasks = submit(drivers[1], "calls_on", [(handles[1], 10 + k, 10) for k in range(4)])
    assert values(sim, drivers[1], tasks) == [list(range(10))] * 4
    for driver, mine in zip(drivers, refs, strict=True):
        assert [i for _, i in values(sim, driver, mine)] == list(range(40))
    assert_in_order(sim)
    assert len(sim.world.noted) == 120
    for one in handles:
        one.lifeline = None
    handle = one = None
    nothing_left(sim, tasks, handles, *refs)


def test_without_restarts_calls_fail_and_none_runs_twice(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver)
    refs = call(driver, handle, "note", *((0, i) for i in range(60)))
    sim.world.after(
        sim.world.random.uniform(0.004, 0.04), lambda: sim.kill_random_worker(actors=True)
    )
    found = outcomes(sim, driver, refs)
    ends = [isinstance(x, ActorDiedError) for x in found]
    assert sorted(ends) == ends, "a call succeeded after one that found the actor dead"
    assert max(Counter(tid for _, tid, _ in sim.world.ran).values(), default=0) <= 1
    assert_in_order(sim)
    handle.lifeline = None
    nothing_left(sim, refs)


def test_restarts_without_call_retries_run_nothing_twice(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver, max_restarts=-1)
    refs: list[Any] = []

    def two(i: int) -> None:
        refs.extend(call(driver, handle, "note", (0, 2 * i), (0, 2 * i + 1)))

    for i in range(30):
        sim.world.after(0.004 * i, lambda i=i: two(i))
    for i in range(3):
        sim.world.after(0.03 * (i + 1), lambda: sim.kill_random_worker(actors=True))
    sim.world.run(lambda: len(refs) == 60, 10.0)
    found = outcomes(sim, driver, refs)
    assert all(isinstance(x, (tuple, RayActorError)) for x in found), found
    assert isinstance(found[-1], (tuple, RayActorError))
    assert max(Counter(tid for _, tid, _ in sim.world.ran).values()) == 1
    assert_in_order(sim)
    again = call(driver, handle, "note", (0, 1000))
    sim.world.run_for(0.5)
    again += call(driver, handle, "note", (0, 1001))
    assert values(sim, driver, again)[-1][1] == 1001
    handle.lifeline = None
    nothing_left(sim, refs, again)


def test_with_call_retries_no_call_is_lost_whoever_dies(sim: Cluster) -> None:
    drivers = [sim.driver(1), sim.driver(1)]
    handle = make(drivers[0], max_restarts=-1, max_task_retries=-1)
    handles = [handle, lent(sim, drivers[0], handle, drivers[1])]
    refs = [
        call(d, h, "note", *((k, i) for i in range(50)))
        for k, (d, h) in enumerate(zip(drivers, handles, strict=True))
    ]
    for i in range(4):
        sim.world.after(0.006 + 0.01 * i, lambda: sim.kill_random_worker(actors=True))
    victim = sim.nodes[sim.world.random.choice([2, 3])]
    sim.world.after(sim.world.random.uniform(0.01, 0.1), lambda: sim.kill_node(victim))
    for driver, mine in zip(drivers, refs, strict=True):
        assert [i for _, i in values(sim, driver, mine)] == list(range(50))
    assert_in_order(sim)
    for one in handles:
        one.lifeline = None
    handle = one = None
    nothing_left(sim, handles, *refs)


def test_the_last_retry_waits_for_the_restart(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver, max_restarts=-1, max_task_retries=1)
    refs = call(driver, handle, "wait_for", (0.05,), (0.06,), (0.07,))
    sim.world.run(lambda: len(sim.world.ran) == 1, 10.0)
    sim.kill_random_worker(actors=True)
    assert values(sim, driver, refs) == [0.05, 0.06, 0.07]
    refs += call(driver, handle, "wait_for", (0.08,))
    sim.world.run(lambda: len(sim.world.ran) == 5, 10.0)
    for _ in range(2):
        sim.kill_random_worker(actors=True)
        sim.world.run(lambda: any(w.actor is not None for _, w in sim.workers()), 10.0)
        sim.world.run_for(0.02)
    assert isinstance(outcomes(sim, driver, refs)[-1], RayActorError)
    handle.lifeline = None
    nothing_left(sim, refs)


def test_a_call_that_waits_for_an_argument_keeps_its_place(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver, max_restarts=-1, max_task_retries=-1)
    late = submit(driver, "sleeps", [(0.05, 7)], retries=-1)
    with driver.turn():
        refs = [driver.call(handle, "note", 0, 0), driver.call(handle, "echo", late[0])]
        refs += [driver.call(handle, "note", 0, i) for i in range(1, 5)]
        driver.settle()
    sim.world.after(sim.world.random.uniform(0.0, 0.1), lambda: sim.kill_random_worker())
    found = values(sim, driver, refs)
    assert found[1] == [7]
    assert [i for _, i in found[2:]] == [1, 2, 3, 4]
    assert_in_order(sim)
    handle.lifeline = None
    nothing_left(sim, refs, late)


def test_a_constructor_waits_for_its_argument_and_keeps_it_for_restarts(sim: Cluster) -> None:
    driver = sim.driver()
    large = submit(driver, "large", [(5,)], retries=-1)
    handle = make(driver, large[0], max_restarts=-1, max_task_retries=-1)
    nothing = [x for x in [large.clear()] if x]
    refs = call(driver, handle, "argument")
    assert values(sim, driver, refs + call(driver, handle, "argument"), 20.0) is not None
    sim.kill_random_worker(actors=True)
    refs += call(driver, handle, "argument", ())
    found = values(sim, driver, refs, 20.0)
    assert all(int.from_bytes(bytes(x[:8]), "big") == 5 for x in found)
    found = None
    handle.lifeline = None
    nothing_left(sim, refs, nothing)


def test_kill_ends_what_was_called_and_what_will_be(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver, max_restarts=sim.world.random.choice([0, -1]))
    refs = call(driver, handle, "note", *((0, i) for i in range(20)))
    sim.world.run_for(sim.world.random.uniform(0.0, 0.03))
    with driver.turn():
        driver.kill(handle)
        refs.append(driver.call(handle, "note", 0, 100))
        driver.settle()
    found = outcomes(sim, driver, refs)
    assert isinstance(found[-1], ActorDiedError)
    assert (sim.world.noted or [(0, 0, 0)])[-1][2] < 100
    handle.lifeline = None
    nothing_left(sim, refs)


def test_kill_with_restart_starts_it_again(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver, max_restarts=1, max_task_retries=-1)
    (first,) = values(sim, driver, call(driver, handle, "note", (0, 0)))
    with driver.turn():
        driver.kill(handle, no_restart=False)
        second = [driver.call(handle, "note", 0, 1)]
        driver.settle()
    (found,) = values(sim, driver, second)
    assert found[0] != first[0]
    with driver.turn():
        driver.kill(handle, no_restart=False)
        second.append(driver.call(handle, "note", 0, 2))
        driver.settle()
    assert isinstance(outcomes(sim, driver, second)[-1], ActorDiedError)
    handle.lifeline = None
    nothing_left(sim, second)


def test_calls_made_before_the_last_handle_went_are_answered(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver, kind=sim.world.random.choice(["plain", "slow"]))
    refs = call(driver, handle, "note", *((0, i) for i in range(10)))
    handle.lifeline = None
    assert [i for _, i in values(sim, driver, refs)] == list(range(10))
    nothing_left(sim, refs)


def test_actors_beyond_the_cpus_wait_for_their_turn(sim: Cluster) -> None:
    driver = sim.driver(2)
    one = {"CPU": UNIT}
    handles = [make(driver, holding=one) for _ in range(9)]
    refs = [call(driver, h, "note", (k, 0)) for k, h in enumerate(handles)]
    busy = submit(driver, "sleeps", [(0.05,) for _ in range(20)])
    done = values(sim, driver, [r[0] for r in refs[:3]], 20.0)
    assert len(done) == 3
    for k, handle in enumerate(handles):
        values(sim, driver, refs[k], 20.0)
        with driver.turn():
            handle.lifeline = None
            refs[k].clear()
            driver.settle()
    assert values(sim, driver, busy) == [0] * 20
    nothing_left(sim, busy)


def test_a_call_of_an_actor_queued_behind_a_busy_cpu_is_answered_soon(sim: Cluster) -> None:
    driver, other = sim.driver(1), sim.driver(2)
    busy = submit(other, "sleeps", [(0.4,) for _ in range(12)])
    sim.world.run_for(sim.world.random.uniform(0.01, 0.1))
    holding = sim.world.random.choice([{}, {"CPU": UNIT}])
    handle = make(driver, holding=holding, kind=sim.world.random.choice(["plain", "slow"]))
    start = sim.world.time
    refs = call(driver, handle, "note", (0, 0))
    values(sim, driver, refs, 10.0)
    assert sim.world.time - start < 2.5, sim.world.tail()
    values(sim, other, busy)
    handle.lifeline = None
    nothing_left(sim, refs, busy)


def test_the_end_of_its_owner_ends_an_actor(sim: Cluster) -> None:
    owner, other = sim.driver(2), sim.driver(1)
    handle = make(owner, max_restarts=-1)
    theirs = lent(sim, owner, handle, other)
    refs = call(other, theirs, "note", *((0, i) for i in range(30)))
    sim.world.run_for(sim.world.random.uniform(0, 0.05))
    sim.kill_driver(owner)
    assert all(isinstance(x, (tuple, RayActorError)) for x in outcomes(sim, other, refs))
    late = call(other, theirs, "note", (0, 99))
    sim.world.run_for(0.5)
    late += call(other, theirs, "note", (0, 100))
    assert isinstance(outcomes(sim, other, late)[-1], ActorDiedError)
    theirs.lifeline = None
    handle = None
    nothing_left(sim, refs, late)


def test_one_name_is_one_actor_whoever_comes_first(sim: Cluster) -> None:
    drivers = [sim.driver(n) for n in (1, 2, 3, 3)]
    handles: list[Handle] = []

    def get(driver: SimProcess) -> None:
        handles.append(driver.named("plain", name="the one"))

    for driver in drivers:
        driver.start(functools.partial(get, driver))
    sim.world.run(lambda: len(handles) == 4, 10.0)
    assert len({h.actor for h in handles}) == 1
    pairs = list(zip(drivers, handles, strict=True))
    refs = [call(d, h, "note", (k, 0)) for k, (d, h) in enumerate(pairs)]
    pairs.clear()
    found = [values(sim, d, r)[0][0] for d, r in zip(drivers, refs, strict=True)]
    assert len(set(found)) == 1
    with drivers[0].turn():
        try:
            again = functools.partial(drivers[0].named, "plain", name="the one", exists=False)
            routine(sim, drivers[0], again)
        except Ended:
            pass
        else:
            raise AssertionError("the name was given away twice")
    for handle in handles:
        handle.lifeline = None
    handle = None
    nothing_left(sim, handles, *refs)


def test_an_actor_that_nothing_can_hold_is_warned_of(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver, placing={"CPU": 64 * UNIT})
    sim.world.run_for(1.0)
    assert any("64" in text for text in driver.core._warned), driver.core._warned
    with driver.turn():
        driver.kill(handle)
        handle.lifeline = None
        driver.settle()
    nothing_left(sim)


def test_a_constructor_that_fails_fails_the_calls(sim: Cluster) -> None:
    driver = sim.driver()
    handle = make(driver, kind="failing", max_restarts=3, max_task_retries=-1)
    refs = call(driver, handle, "note", (0, 0), (0, 1))
    assert all(isinstance(x, RayError) for x in outcomes(sim, driver, refs))
    assert [a.state for a in sim.head.actors.table] == [actors.DEAD]
    handle.lifeline = None
    nothing_left(sim, refs)
