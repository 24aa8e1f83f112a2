"""Attempts that make different values: readers see the one that the owner accepted.

Workers die when a result of theirs is sealed, and before they have told its owner.  Readers on
every node look early, so that what those attempts made spreads; whoever starts to read after the
owner has accepted an attempt sees its value, and none of an earlier one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rayhpc.exceptions import WorkerCrashedError
from rayhpc.raylet.objects.table import ObjectTable
from rayhpc.runtime.owner.entries import PENDING, Entry
from rayhpc.wire.address import Address, ObjectId, node_of, process_of
from rayhpc.wire.messages.common import Strategy
from rayhpc.wire.messages.tasks import STREAMING

from .checks import nothing_left, outcomes, submit, values
from .cluster import Cluster
from .node import KILLED
from .test_actors import call, make
from .user import Handle


class Case:
    """One cluster, in which the first writers of each result die, and readers on all nodes."""

    def __init__(self, sim: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sim = sim
        self.driver = sim.driver(1)
        self.found: list[Any] = []
        # For each late read: at least which attempt it must see, and the row of the object.
        self.wanted: list[tuple[int, Entry]] = []
        self._deaths: Counter[ObjectId] = Counter()
        # How many writers of each die, which share of the others is spared, and how much later.
        self.most = sim.world.random.choice([1, 2])
        self.spared = 0.3
        self.delays = [0.0, 0.0, 0.0005, 0.002]
        seal = ObjectTable.seal

        def sealed(table: ObjectTable, process: Address, oid: ObjectId) -> None:
            seal(table, process, oid)
            if process_of(process) and process != self.driver.core.me:
                self._kill(process, oid)

        monkeypatch.setattr(ObjectTable, "seal", sealed)
        self.readers = [self._reader(number) for number in sim.nodes]

    def look_early(self, refs: list[Any]) -> None:
        """Have all nodes read, as soon as there is a copy."""
        for reader in self.readers:
            self.found += call(self.driver, reader, "look", *(([ref],) for ref in refs))

    def look_late(self, ref: Any) -> None:
        """Have all nodes read, now that the object is accepted."""
        entry = self.driver.core.ownership.table[ref.binary()]
        for reader in self.readers:
            self.found += call(self.driver, reader, "look", ([ref],))
            self.found += call(self.driver, reader, "number", (ref,))
            self.wanted += [(entry.attempt, entry)] * 2

    def look_when_accepted(self, refs: list[Any]) -> None:
        """Have all nodes read each object once it is accepted."""
        table = self.driver.core.ownership.table
        for ref in refs:
            self.sim.world.run(lambda r=ref: table[r.binary()].state != PENDING, 30.0)
            self.look_late(ref)

    def check(self) -> None:
        """Every late reader has seen what it should."""
        late = len(self.wanted)
        assert late
        seen = values(self.sim, self.driver, self.found)[-late:]
        for attempt, (least, entry) in zip(seen, self.wanted, strict=True):
            assert least <= attempt <= entry.attempt, self.sim.world.tail()
        assert sum(self._deaths.values()), "nobody died"

    def end(self, *more: list[Any]) -> None:
        """Let everything go: nothing is left of any attempt."""
        for reader in self.readers:
            reader.lifeline = None
        reader = None
        nothing_left(self.sim, self.readers, self.found, self.wanted, *more)

    def _reader(self, number: int) -> Handle:
        where = Strategy("node", self.sim.nodes[number].raylet.config.node_id)
        return make(self.driver, strategy=where, concurrency=16)

    def _kill(self, process: Address, oid: ObjectId) -> None:
        is_spared = bool(self._deaths) and self.sim.world.random.random() < self.spared
        if self._deaths[oid] >= self.most or is_spared:
            return
        self._deaths[oid] += 1
        node = self.sim.nodes[node_of(process)]

        def now() -> None:
            worker = node.workers.get(process_of(process))
            if worker is not None:
                node.worker_died(worker, KILLED)

        self.sim.world.after(self.sim.world.random.choice(self.delays), now)


@pytest.fixture
def case(sim: Cluster, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(sim, monkeypatch)


def test_results_of_tasks(case: Case) -> None:
    pairs = submit(case.driver, "differs", [() for _ in range(3)], retries=-1, returns=2)
    refs = [ref for pair in pairs for ref in pair]
    pairs.clear()
    case.look_early(refs)
    case.look_when_accepted(refs)
    case.check()
    case.end(refs)


def test_results_of_calls(case: Case) -> None:
    handle = make(case.driver, max_restarts=-1, max_task_retries=-1)
    with case.driver.turn():
        pairs = [case.driver.call(handle, "differ", returns=2) for _ in range(3)]
        case.driver.settle()
    refs = [ref for pair in pairs for ref in pair]
    pairs.clear()
    case.look_early(refs)
    case.look_when_accepted(refs)
    case.check()
    handle.lifeline = None
    case.end(refs)


def test_items_of_generators(case: Case) -> None:
    ends = submit(case.driver, "differing", [(4,)], retries=-1, returns=STREAMING)
    stream = case.driver.core.streams._live[ends[0].binary()]
    refs: list[Any] = []
    for _ in range(4):
        case.sim.world.run(lambda: bool(stream.items), 30.0)
        with case.driver.turn():
            refs.append(stream.items.popleft())
            case.driver.core.streams.took_one(stream)
        case.look_late(refs[-1])
    case.check()
    with case.driver.turn():
        case.driver.core.streams.close(stream)
    stream = None
    case.end(refs, ends)


def test_what_is_lost_is_made_again_as_another_attempt(case: Case) -> None:
    """A node dies with the only copies, or with some: then its readers are no more, either."""
    pairs = submit(case.driver, "differs", [() for _ in range(3)], retries=-1, returns=2)
    refs = [ref for pair in pairs for ref in pair]
    pairs.clear()
    case.look_when_accepted(refs)
    case.check()
    node = case.sim.world.random.choice([2, 3])
    case.sim.kill_node(case.sim.nodes[node])
    case.found.clear()
    case.wanted.clear()
    del case.readers[node - 1]
    case.sim.world.run_for(case.sim.world.random.choice([0.0, 0.01, 0.3]))
    case.look_early(refs)
    case.sim.world.run_for(3.0)
    case.look_when_accepted(refs)
    case.check()
    case.end(refs)


def test_the_error_of_a_task_that_has_failed_for_good(case: Case) -> None:
    """What its last attempt has sealed is not given to anybody: all see the error."""
    case.spared, case.delays = 0.0, [0.0]
    pairs = submit(case.driver, "differs", [()], retries=case.most - 1, returns=2)
    refs = list(pairs.pop())
    case.look_early(refs)
    table = case.driver.core.ownership.table
    case.sim.world.run(lambda: table[refs[0].binary()].state != PENDING, 30.0)
    early = len(case.found)
    case.look_late(refs[0])
    late = outcomes(case.sim, case.driver, case.found)[early:]
    assert len(late) == 6
    assert all(isinstance(x, WorkerCrashedError) for x in late), late
    case.end(refs)
