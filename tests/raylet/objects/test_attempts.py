"""Copies of several attempts of a task, which differ: readers get the newest that is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from object_nodes import Cluster, Process, get, leftovers, sent

from rayhpc.raylet.objects import pulls, spill
from rayhpc.wire.address import ObjectId
from rayhpc.wire.messages import objects

LARGE = 100_000
OWNER, FIRST, SECOND, OTHER = 1, 2, 3, 4


class Retried:
    """A task whose first attempt has sealed its result and died, and whose second has ended.

    Args:
        cluster: where.
        first: the node of the first attempt.
        second: the node of the second one; 0: none has run yet.
    """

    def __init__(self, cluster: Cluster, first: int = FIRST, second: int = SECOND) -> None:
        self.cluster = cluster
        self.owner = cluster.process(OWNER)
        self.oid = self.owner.new()
        self.died = cluster.process(first)
        self.writer = cluster.process(second or SECOND)
        self.died.write(self.oid, LARGE)
        cluster.settle()
        if second:
            self.again()

    def again(self) -> None:
        """The second attempt begins and ends."""
        self.owner.try_again(self.oid)
        self.writer.write(self.oid, LARGE, 1)
        self.cluster.settle(3.0)

    def attempt_at(self, node: int, reader: Process | None = None, least: int = 0) -> Any:
        """Which attempt's value a reader there gets."""
        reader = reader or self.cluster.process(node)
        reader.fetch(self.oid, least=least)
        self.cluster.settle(2.0)
        return reader.views[-1].attempt

    def end(self) -> None:
        """Everybody lets go: nothing is left."""
        for process in self.cluster.processes.values():
            while process.views:
                process.unpin()
        self.owner.free(self.oid)
        self.cluster.settle(3.0)
        assert not leftovers(self.cluster)


@pytest.fixture(params=[0, 1, 2])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(request.param, 4, 1 << 20, str(tmp_path))
    yield made
    made.close()


@pytest.mark.parametrize("where", [OWNER, FIRST, SECOND, OTHER])
@pytest.mark.parametrize("second", [FIRST, SECOND, OWNER])
def test_a_reader_on_any_node_gets_the_newest(cluster: Cluster, where: int, second: int) -> None:
    case = Retried(cluster, FIRST, second)
    assert case.attempt_at(where) == 1
    case.end()


@pytest.mark.parametrize("second", [FIRST, SECOND])
def test_who_holds_the_earlier_value_keeps_it(cluster: Cluster, second: int) -> None:
    """Also on the node on which the next attempt stores its own."""
    case = Retried(cluster, FIRST, 0)
    readers = [cluster.process(node) for node in (FIRST, OTHER)]
    for reader in readers:
        assert case.attempt_at(0, reader) == 0
    case.writer = cluster.process(second)
    case.again()
    for reader, node in zip(readers, (FIRST, OTHER), strict=True):
        assert case.attempt_at(node) == 1
        assert case.attempt_at(node, reader) == 1
        reader.check(reader.views[0])  # its bytes are still there
        reader.unpin(1)
        cluster.settle()
        reader.check(reader.views[0])
    case.end()


def test_what_an_earlier_attempt_seals_late_is_thrown_away(cluster: Cluster) -> None:
    owner, late, writer = (cluster.process(node) for node in (OWNER, FIRST, SECOND))
    oid = owner.new()
    late.take = lambda message: None  # type: ignore[method-assign]
    handlers = cluster.managers[FIRST].handlers()
    handlers[objects.StoreCreate](late.address, objects.StoreCreate(oid, LARGE))
    owner.try_again(oid)
    writer.write(oid, LARGE, 1)
    cluster.settle()
    handlers[objects.StoreSeal](late.address, objects.StoreSeal(oid, LARGE))
    cluster.settle(1.0)
    assert cluster.managers[FIRST].used == 0
    assert get(cluster.process(FIRST), oid).attempt == 1


def test_what_is_sealed_after_everything_was_freed_does_not_stay(cluster: Cluster) -> None:
    """The directory has forgotten the object, of which it knew two attempts."""
    case = Retried(cluster)
    case.end()
    late = cluster.process(FIRST)
    late.take = lambda message: None  # type: ignore[method-assign]
    late.send(objects.StoreCreate(case.oid, LARGE))
    late.send(objects.StoreSeal(case.oid, LARGE))
    cluster.settle(1.0)
    assert sent(cluster, objects.StoreSeal)
    assert not leftovers(cluster)


def test_a_task_that_has_failed_for_good_shows_no_value(cluster: Cluster) -> None:
    case = Retried(cluster, FIRST, 0)
    case.owner.try_again(case.oid)
    case.owner._resolve(case.oid, "error")
    cluster.settle()
    for node in (OWNER, FIRST, OTHER):
        assert get(cluster.process(node), case.oid).kind == objects.ERROR
    case.end()


def test_a_puller_that_was_told_of_an_earlier_attempt_asks_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the bytes of both lie on the same node."""
    monkeypatch.setattr(spill, "PIECE", 8 * 1024)
    monkeypatch.setattr(pulls, "CHUNK", 8 * 1024)
    case = Retried(cluster, FIRST, 0)
    reader = cluster.process(OTHER)
    reader.fetch(case.oid)
    while not sent(cluster, objects.Chunk) and cluster.time < 5.0:
        if not cluster.step():
            cluster.pass_time(0.01)
    case.writer = cluster.process(cluster.random.choice([FIRST, SECOND]))
    case.again()
    cluster.settle(5.0)
    assert [view.attempt for view in reader.views] == [1]
    case.end()


def test_who_knows_of_the_newest_attempt_gets_no_earlier_one(cluster: Cluster) -> None:
    """What the owner says to the directory, and that to others, may be late."""
    case = Retried(cluster, FIRST, 0)
    get(cluster.process(OTHER), case.oid, pin=False)
    readers = [cluster.process(node) for node in (FIRST, OTHER, SECOND)]
    for reader in readers:
        reader.fetch(case.oid, least=1)
    cluster.settle(1.0)
    assert not any(reader.views for reader in readers)
    case.again()
    cluster.settle(3.0)
    assert [view.attempt for reader in readers for view in reader.views] == [1, 1, 1]
    case.end()


def test_a_copy_on_disk_goes_as_well(cluster: Cluster) -> None:
    case = Retried(cluster, FIRST, 0)
    others = _fill(cluster, FIRST, case.oid)
    assert cluster.managers[FIRST].spilled
    case.again()
    assert case.attempt_at(FIRST) == 1
    for oid in others:
        case.died.free(oid)
    case.end()
    cluster.settle(1.0)
    assert cluster.managers[FIRST].spilled == 0


def test_what_comes_back_from_disk_meanwhile_is_not_given_to_anybody(cluster: Cluster) -> None:
    case = Retried(cluster, FIRST, 0)
    others = _fill(cluster, FIRST, case.oid)
    reader = cluster.process(FIRST)
    handlers = cluster.managers[FIRST].handlers()
    handlers[objects.Fetch](reader.address, objects.Fetch([case.oid]))
    reader.waiting.add((case.oid, True))
    handlers[objects.DropCopies](case.owner.raylet, objects.DropCopies([case.oid], 1))
    case.again()
    assert [view.attempt for view in reader.views] == [1]
    for oid in others:
        case.died.free(oid)
    case.end()


def test_a_node_that_leaves_does_not_bring_an_earlier_attempt_back(cluster: Cluster) -> None:
    case = Retried(cluster)
    for _ in range(3):
        for node in (FIRST, SECOND):
            cluster.managers[node].move_away()
        cluster.settle(1.0)
    assert cluster.managers[FIRST].rows(10) == cluster.managers[SECOND].rows(10) == []
    assert case.attempt_at(OTHER) == 1
    case.end()


def _fill(cluster: Cluster, node: int, oid: ObjectId) -> list[ObjectId]:
    """Fill a node's store until the object lies on its disk; the objects that it is full of."""
    filler = next(p for p in cluster.processes.values() if p.address >> 32 == node)
    table = cluster.managers[node]._table
    made: list[ObjectId] = []
    for _ in range(60):
        if table.objects[oid].offset < 0:
            break
        made.append(filler.new())
        filler.write(made[-1], LARGE // 4)  # the largest goes first
        cluster.settle(0.5)
    return made
