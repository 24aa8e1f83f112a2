"""Everything at once: a random program of several drivers, while random things die."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from rayhpc.exceptions import RayError
from rayhpc.wire.messages.common import UNIT

from .checks import nothing_left, outcomes, submit
from .cluster import Cluster
from .process import SimProcess
from .test_actors import call, make
from .user import Handle


class Program:
    """What one driver does: each step submits something and says what may come of it."""

    def __init__(self, sim: Cluster, driver: SimProcess, rng: random.Random) -> None:
        self.sim = sim
        self.driver = driver
        self.rng = rng
        self.refs: list[Any] = []
        self.wanted: list[Any] = []
        self.handles: list[Handle] = []
        self.calls = 0

    def step(self) -> None:
        """Do one thing."""
        steps: list[Callable[[], None]] = [
            self.short,
            self.chain,
            self.large,
            self.boxed,
            self.nested,
            self.actor,
            self.call,
            self.call,
            self.blobs,
            self.cancel,
            self.drop,
        ]
        self.rng.choice(steps)()

    def _add(self, refs: list[Any], wanted: list[Any]) -> None:
        self.refs += refs
        self.wanted += wanted

    def short(self) -> None:
        count = self.rng.choice([1, 5, 40])
        self._add(
            submit(self.driver, "short", [(i,) for i in range(count)], retries=-1),
            list(range(count)),
        )

    def chain(self) -> None:
        first = submit(self.driver, "sleeps", [(self.rng.uniform(0, 0.1), 1)], retries=-1)
        second = submit(self.driver, "add", [(first[0], 1)], retries=-1)
        third = submit(self.driver, "add", [(first[0], second[0])], retries=-1)
        self._add(third, [3])

    def large(self) -> None:
        blobs = submit(self.driver, "large", [(i,) for i in range(3)], retries=-1)
        self._add(submit(self.driver, "first_of", [tuple(blobs)], retries=-1), [3])

    def boxed(self) -> None:
        ref = submit(self.driver, "large", [(9,)], retries=-1)
        depth = self.rng.randrange(3)
        self._add(submit(self.driver, "passes_down", [([ref[0]], depth)], retries=-1), [None])

    def nested(self) -> None:
        box = submit(self.driver, "nests", [(4,)], retries=-1)
        self._add(submit(self.driver, "digs", [([box[0]],)], retries=-1), [4])

    def actor(self) -> None:
        if len(self.handles) < 3:
            retries = self.rng.choice([0, -1])
            holding = self.rng.choice([{}, {}, {"CPU": UNIT // 2}])
            self.handles.append(
                make(self.driver, max_restarts=retries, max_task_retries=retries, holding=holding)
            )

    def call(self) -> None:
        if not self.handles:
            return
        handle = self.rng.choice(self.handles)
        if self.rng.random() < 0.05:
            with self.driver.turn():
                self.driver.kill(handle)
                self.driver.settle()
            return
        key = self.driver.core.me
        numbers = range(self.calls, self.calls + 5)
        self.calls += 5
        self._add(call(self.driver, handle, "note", *((key, i) for i in numbers)), list(numbers))

    def blobs(self) -> None:
        """Large results of calls, each made from the one before."""
        if not self.handles:
            return
        handle = self.rng.choice(self.handles)
        chain = call(self.driver, handle, "blob", (1,))
        for _ in range(self.rng.randrange(3)):
            chain += call(self.driver, self.rng.choice(self.handles), "grow", (chain[-1], 1))
        wanted = len(chain)
        self._add(submit(self.driver, "first_of", [(chain[-1],)], retries=-1), [wanted])

    def cancel(self) -> None:
        if self.refs:
            ref = self.rng.choice(self.refs)
            entry = self.driver.core.ownership.table.get(ref.binary())
            is_task = entry is not None and entry.task is not None and entry.task.target is None
            with self.driver.turn():
                force = is_task and self.rng.random() < 0.3
                self.driver.cancel(ref, force=force)
                self.driver.settle()

    def drop(self) -> None:
        with self.driver.turn():
            for _ in range(len(self.refs) // 3):
                i = self.rng.randrange(len(self.refs))
                del self.refs[i], self.wanted[i]
            if self.handles and self.rng.random() < 0.3:
                self.handles.pop().lifeline = None
            self.driver.settle()

    def check(self) -> None:
        """Every reference comes to its value, or to an error that deaths or a cancel explain."""
        found = outcomes(self.sim, self.driver, self.refs, 90.0)
        for value, wanted in zip(found, self.wanted, strict=True):
            if isinstance(value, RayError) or wanted is None:
                continue
            got = value[1] if isinstance(value, tuple) else value
            assert got == wanted, self.sim.world.tail()


def something_dies(sim: Cluster, drivers: list[SimProcess], rng: random.Random) -> None:
    """One death, mostly of a worker; sometimes a node comes instead."""
    dice = rng.random()
    others = [n for n in sim.nodes.values() if n.alive and n.number != 1]
    if dice < 0.75:
        sim.kill_random_worker()
    elif dice < 0.85 and len(others) > 1:
        sim.kill_node(rng.choice(others), told_after=rng.choice([None, None, 2.0]))
    elif dice < 0.9 and len(drivers) > 1:
        sim.kill_driver(drivers.pop())
    elif dice < 0.93 and len(others) > 1:
        one, two = rng.sample([1, *(n.number for n in others)], 2)
        sim.cut(one, two)
    else:
        sim.add_node(len(sim.nodes), 2)


@pytest.mark.parametrize("part", range(4))
def test_whatever_happens_all_is_answered_and_nothing_stays(sim: Cluster, part: int) -> None:
    rng = random.Random(sim.world.seed * 10 + part)
    drivers = [sim.driver(1), sim.driver(rng.choice([1, 2, 3])), sim.driver(1)]
    programs = {d.core.me: Program(sim, d, rng) for d in drivers}
    living = list(drivers)
    for _ in range(rng.randrange(10, 40)):
        driver = rng.choice(living)
        if driver.alive:
            programs[driver.core.me].step()
        sim.world.run_for(rng.choice([0.0, 0.001, 0.01, 0.05]))
        if part and rng.random() < 0.3:
            something_dies(sim, living, rng)
    # By then the head has judged the links that broke, which may end a driver's node.
    sim.world.run_for(8.0 if part else 0.0)
    for driver in drivers:
        program = programs[driver.core.me]
        if driver.alive:
            program.check()
    holders = [x for p in programs.values() for x in (p.refs, p.handles)]
    programs.clear()
    program = None
    nothing_left(sim, *holders, after=15.0)
