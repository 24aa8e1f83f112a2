"""A node that is about to leave gives away what only it keeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from object_nodes import Cluster, Process, get, put, sent

from rayhpc.wire.address import ObjectId
from rayhpc.wire.messages import objects

SIZE = 300_000


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster(1, 3, 1 << 20, None)
    yield made
    made.close()


@pytest.fixture
def owner(cluster: Cluster) -> Process:
    return cluster.process(1)


def _made_on(cluster: Cluster, node: int, owner: Process) -> ObjectId:
    """An object of the owner's that a task has left on another node."""
    oid = owner.new()
    cluster.process(node).write(oid, SIZE)
    cluster.settle(1.0)
    return oid


def test_the_only_copy_is_copied_and_then_dropped(cluster: Cluster, owner: Process) -> None:
    oid = _made_on(cluster, 2, owner)
    leaving = cluster.managers[2]
    assert leaving.unmoved() == 1
    for _ in range(3):
        leaving.move_away()
        cluster.settle(1.0)
    assert leaving.unmoved() == 0
    assert leaving.rows(10) == []
    cluster.kill_node(2)
    assert isinstance(get(owner, oid, within=2.0), objects.Fetched)
    assert sent(cluster, objects.CopiesLost) == []


def test_a_second_copy_becomes_the_one_to_keep(cluster: Cluster, owner: Process) -> None:
    oid = _made_on(cluster, 2, owner)
    get(cluster.process(3), oid, pin=False, within=2.0)
    cluster.managers[2].move_away()
    cluster.settle(1.0)
    assert cluster.managers[2].unmoved() == 0
    assert cluster.managers[3].unmoved() == 1
    assert cluster.managers[1].rows(10) == []


def test_what_a_leaving_node_owns_itself_is_not_given_away(cluster: Cluster) -> None:
    put(cluster.process(2), SIZE)
    assert cluster.managers[2].unmoved() == 0
