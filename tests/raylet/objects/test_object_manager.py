"""What one node's object manager, or two or three of them, do with one object at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from object_nodes import Cluster, Done, get, leftovers, put, sent

from rayhpc.raylet.objects import directory, fetching
from rayhpc.wire.address import raylet_of
from rayhpc.wire.messages import objects

STORE_BYTES = 1 << 20
LARGE = 300_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(1, 3, STORE_BYTES, str(tmp_path))
    yield cluster
    cluster.close()


# -- one node --------------------------------------------------------------------------------------
def test_put_get_free(cluster: Cluster) -> None:
    process = cluster.process(1)
    oid = put(process)
    assert cluster.managers[1].used >= LARGE
    assert get(process, oid).size == LARGE
    process.unpin()
    process.free(oid)
    cluster.settle()
    assert not leftovers(cluster)


def test_a_freed_object_stays_until_its_last_view_goes(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(1)
    oid = put(owner)
    get(reader, oid)
    owner.free(oid)
    cluster.settle()
    assert cluster.managers[1].used >= LARGE
    assert [row.state for row in cluster.managers[1].rows(10)] == ["freed, in use"]
    reader.unpin()
    cluster.settle()
    assert not leftovers(cluster)


def test_what_a_dead_process_held_goes(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(1)
    read, unsealed = put(owner), owner.new()
    get(reader, read)
    manager = cluster.managers[1]
    manager.handlers()[objects.StoreCreate](reader.address, objects.StoreCreate(unsealed, LARGE))
    owner.free(read)
    cluster.kill_process(reader.address)
    cluster.settle()
    assert manager.used == 0


def test_messages_of_the_dead_are_ignored(cluster: Cluster) -> None:
    process = cluster.process(1)
    cluster.kill_process(process.address)
    create = cluster.managers[1].handlers()[objects.StoreCreate]
    create(process.address, objects.StoreCreate(process.new(), LARGE))
    assert cluster.managers[1].used == 0


def test_an_object_freed_before_it_is_sealed_goes(cluster: Cluster) -> None:
    """A local worker's result can reach its owner before its seal reaches the raylet."""
    owner, writer = cluster.process(1), cluster.process(1)
    handlers = cluster.managers[1].handlers()
    oid = owner.new()
    handlers[objects.StoreCreate](writer.address, objects.StoreCreate(oid, LARGE))
    handlers[objects.Free](owner.address, objects.Free([oid]))
    handlers[objects.StoreSeal](writer.address, objects.StoreSeal(oid, LARGE))
    assert cluster.managers[1].used == 0


def test_who_reads_while_it_is_made_anew_gets_what_is_made(cluster: Cluster) -> None:
    """The second attempt's result is known before its seal: the first one's value is not shown."""
    owner, first, second = (cluster.process(1) for _ in range(3))
    handlers = cluster.managers[1].handlers()
    oid = owner.new()
    first.write(oid, LARGE)
    cluster.settle()
    second.creating[oid] = 2 * LARGE, 0
    handlers[objects.StoreCreate](second.address, objects.StoreCreate(oid, 2 * LARGE))
    handlers[objects.Fetch](owner.address, objects.Fetch([oid], True))
    cluster.settle()
    assert [x.size for x in owner.answers] == [2 * LARGE]


def test_only_the_owner_can_free(cluster: Cluster) -> None:
    owner, other = cluster.process(1), cluster.process(1)
    oid = put(owner)
    other.send(objects.Free([oid]))
    cluster.settle()
    assert get(owner, oid).size == LARGE


def test_a_cancelled_look_does_not_cancel_the_read(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = owner.new()
    reader.fetch(oid, pin=True)
    reader.fetch(oid, pin=False)
    cluster.settle()
    reader.cancel(oid, pin=False)
    owner.write(oid, LARGE)
    cluster.settle()
    assert [view.oid for view in reader.views] == [oid]


# -- several nodes ---------------------------------------------------------------------------------
def test_a_reader_elsewhere_gets_a_copy_that_goes_with_the_object(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner)
    assert get(reader, oid).size == LARGE
    owner.free(oid)
    cluster.settle()
    assert cluster.managers[1].used == 0
    assert cluster.managers[2].used >= LARGE, "it has a view"
    reader.unpin()
    cluster.settle()
    assert not leftovers(cluster)


def test_a_copy_is_evicted_and_fetched_again(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner)
    get(reader, oid)
    reader.unpin()
    mine = put(reader, 900_000)
    assert cluster.managers[2].spilled == 0, "a copy goes before anything is spilled"
    assert sent(cluster, objects.ObjectGone)
    reader.free(mine)
    assert get(reader, oid).size == LARGE


def test_the_last_copy_is_kept_when_the_first_one_dies(cluster: Cluster) -> None:
    """A copy on another node becomes the one to keep: spilled, not evicted."""
    owner, writer, reader = (cluster.process(node) for node in (1, 2, 3))
    oid = owner.new()
    writer.write(oid, LARGE)
    cluster.settle()
    get(reader, oid)
    reader.unpin()
    cluster.kill_node(2)
    cluster.settle()
    put(reader, 900_000)
    assert cluster.managers[3].spilled == LARGE
    assert get(reader, oid).size == LARGE


def test_the_owners_own_node_can_keep_the_last_copy(cluster: Cluster) -> None:
    owner, writer = cluster.process(1), cluster.process(2)
    oid = owner.new()
    writer.write(oid, LARGE)
    cluster.settle()
    get(owner, oid)
    owner.unpin()
    cluster.kill_node(2)
    cluster.settle()
    put(owner, 900_000)
    assert cluster.managers[1].spilled == LARGE
    assert get(owner, oid).size == LARGE


def test_a_copy_of_another_size_is_not_mixed_in(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task made again may give another value: what is there is asked for anew."""
    monkeypatch.setattr(fetching, "_EAGER", 0)
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner)
    reader.fetch(oid)
    while not sent(cluster, objects.ReadChunk):
        if not cluster.step():
            cluster.pass_time(0.1)
    chunk = objects.Chunk(oid, 0, LARGE + 1, b"x" * LARGE)
    cluster.managers[2].handlers()[objects.Chunk](raylet_of(1), chunk)
    cluster.settle()
    assert [view.oid for view in reader.views] == [oid]
    assert len(sent(cluster, objects.Locate)) == 2


def test_a_transfer_cut_by_a_death_goes_on_from_another_copy(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_EAGER", 0)
    owner, writer, reader = (cluster.process(node) for node in (1, 2, 3))
    oid = owner.new()
    writer.write(oid, LARGE)
    cluster.settle()
    get(owner, oid)
    owner.unpin()
    cluster.managers[3]._context.random = _Always(2)  # type: ignore[assignment]
    reader.fetch(oid)
    while cluster.step() and sent(cluster, objects.ReadChunk)[-1].node != 3:
        pass
    assert not reader.views
    cluster.kill_node(2)
    cluster.settle()
    assert [view.oid for view in reader.views] == [oid]


class _Always:
    """A chance that always chooses the same node, if it may."""

    def __init__(self, node: int) -> None:
        self._node = node

    def choice(self, nodes: list[int]) -> int:
        return self._node if self._node in nodes else nodes[0]


def test_an_object_that_is_nowhere_is_made_again(cluster: Cluster) -> None:
    owner, writer = cluster.process(1), cluster.process(2)
    oid = owner.new()
    writer.write(oid, LARGE)
    cluster.settle()
    cluster.kill_node(2)
    assert get(owner, oid).size > 0
    assert owner.owned[oid] == "stored"


def test_a_seal_lost_with_its_writer_is_noticed_at_once(cluster: Cluster) -> None:
    """The result was told to the owner, but the raylet never got the seal."""
    owner, writer = cluster.process(1), cluster.process(2)
    oid = owner.new()
    create = cluster.managers[2].handlers()[objects.StoreCreate]
    create(writer.address, objects.StoreCreate(oid, LARGE))
    owner.take(Done(oid, True))
    cluster.kill_process(writer.address)
    cluster.settle()
    assert sent(cluster, objects.ObjectGone)
    assert get(owner, oid).size > 0
    assert cluster.time < 1


def test_an_object_said_to_be_stored_and_never_seen_is_made_again(cluster: Cluster) -> None:
    owner = cluster.process(1)
    oid = owner.new()
    owner.take(Done(oid, True))
    owner.fetch(oid)
    cluster.settle(5)
    assert [view.oid for view in owner.views] == [oid]


def test_a_result_for_an_owner_whose_node_is_gone_goes(cluster: Cluster) -> None:
    owner, writer = cluster.process(1), cluster.process(2)
    oid = owner.new()
    cluster.kill_node(1)
    writer.write(oid, LARGE)
    cluster.settle()
    assert not leftovers(cluster)


def test_a_result_for_an_owner_that_is_gone_goes(cluster: Cluster) -> None:
    owner, near, far = cluster.process(1), cluster.process(1), cluster.process(2)
    oids = [owner.new(), owner.new()]
    cluster.kill_process(owner.address)
    near.write(oids[0], LARGE)
    far.write(oids[1], LARGE)
    cluster.settle()
    assert not leftovers(cluster)


def test_readers_of_a_dead_owner_are_told(cluster: Cluster) -> None:
    owner, early, late = (cluster.process(node) for node in (1, 2, 3))
    oid = owner.new()
    early.fetch(oid)
    cluster.settle()
    cluster.kill_process(owner.address)
    cluster.settle()
    assert early.answers.pop().kind == objects.OWNER_DIED
    assert get(late, oid).kind == objects.OWNER_DIED
    cluster.kill_node(1)
    assert get(late, oid).kind == objects.OWNER_DIED


def test_copies_of_a_dead_owner_go(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner)
    get(reader, oid)
    reader.unpin()
    cluster.settle()
    cluster.kill_process(owner.address)
    cluster.settle()
    assert not leftovers(cluster)


def test_a_busy_owner_holds_up_nobody(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner)
    owner.take = lambda message: pytest.fail(f"the owner was asked: {message}")  # type: ignore[method-assign]
    assert get(reader, oid).size == LARGE


def test_a_broadcast_spreads_instead_of_draining_one_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory, "_TURNS_FROM", 1000)
    monkeypatch.setattr(fetching, "_EAGER", 0)
    cluster = Cluster(5, 12, STORE_BYTES, None)
    owner = cluster.process(1)
    oid = put(owner)
    readers = [cluster.process(node) for node in range(2, 13)]
    for reader in readers:
        reader.fetch(oid)
    cluster.settle()
    assert all(reader.views for reader in readers)
    asked = [to for _, to, m in cluster.delivered if isinstance(m, objects.ReadChunk)]
    assert asked.count(raylet_of(1)) < len(readers) - 2
    cluster.close()


def test_looking_for_more_than_fits_fails_nobody(cluster: Cluster) -> None:
    """`wait(fetch_local=True)` on more than the store takes: all are there, some elsewhere."""
    owner, reader = cluster.process(1), cluster.process(2)
    oids = [put(owner, 250_000) for _ in range(8)]
    for oid in oids:
        reader.fetch(oid, pin=False)
    cluster.settle()
    assert {answer.oid for answer in reader.answers} == set(oids)
    assert all(isinstance(answer, objects.Fetched) for answer in reader.answers)
    assert cluster.managers[2].used <= STORE_BYTES


def test_looking_may_displace_what_has_been_read(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    for oid in [put(owner, 300_000) for _ in range(3)]:
        get(reader, oid)
        reader.unpin()
    cluster.settle()
    oid = put(owner, 300_000)
    get(reader, oid, pin=False)
    assert oid in {row.oid for row in cluster.managers[2].rows(10)}


def test_more_than_fits_can_be_read_piecewise(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    for oid in [put(owner, 250_000) for _ in range(8)]:
        assert get(reader, oid).size == 250_000
        reader.unpin()
        cluster.settle()
