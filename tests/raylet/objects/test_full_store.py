"""A store that is full: evict, spill, wait; and an error that says who fills it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_nodes import Cluster, get, leftovers, put, sent

from rayhpc.wire.messages import objects

STORE_BYTES = 1 << 20


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(1, 3, STORE_BYTES, str(tmp_path))
    yield cluster
    cluster.close()


@pytest.fixture
def diskless() -> Iterator[Cluster]:
    cluster = Cluster(1, 1, STORE_BYTES, None)
    yield cluster
    cluster.close()


def test_a_value_larger_than_the_store_is_refused_at_once(cluster: Cluster) -> None:
    process = cluster.process(1)
    process.write(process.new(), STORE_BYTES + 1)
    cluster.settle()
    assert "larger than this node's whole object store (1.0 MiB)" in process.answers[0].error
    assert cluster.time < 1


def test_a_full_store_says_who_fills_it(diskless: Cluster) -> None:
    process, reader = diskless.process(1), diskless.process(1)
    held, unread = put(process, 600_000), put(process, 200_000)
    get(reader, held)
    put(process, 400_000)
    error = process.answers.pop().error
    assert "no room for 390.6 KiB" in error
    assert "there is no directory to spill to" in error
    assert f"{held.hex()} owned by process 1.1, in use by process 1.2" in error
    assert f"{unread.hex()} owned by process 1.1, not in use" in error
    assert 4 < diskless.time < 10


def test_a_writer_waits_until_another_frees(diskless: Cluster) -> None:
    process = diskless.process(1)
    first = put(process, 800_000)
    second = process.new()
    process.write(second, 800_000)
    while diskless.step():
        pass
    diskless.pass_time(3)
    assert not process.answers
    process.free(first)
    diskless.settle()
    assert process.owned[second] == "stored"


def test_the_largest_is_spilled_and_comes_back_as_it_was(cluster: Cluster) -> None:
    process = cluster.process(1)
    small, large = put(process, 200_000), put(process, 500_000)
    put(process, 600_000)
    states = {row.oid: row.state for row in cluster.managers[1].rows(10)}
    assert states[large] == "on disk"
    assert states[small] == "in memory"
    assert cluster.managers[1].spilled == 500_000
    assert get(process, large, pin=False).offset == -1, "on disk counts as here"
    assert get(process, large).offset >= 0
    process.unpin()
    for oid in list(process.owned):
        process.free(oid)
    cluster.settle()
    assert not leftovers(cluster)


def test_spill_files_have_no_names(cluster: Cluster, tmp_path: Path) -> None:
    process = cluster.process(1)
    for _ in range(4):
        put(process, 400_000)
    assert cluster.managers[1].spilled
    assert os.listdir(tmp_path) == []


def test_a_damaged_spill_file_is_noticed_and_the_object_made_again(cluster: Cluster) -> None:
    process = cluster.process(1)
    oid = put(process, 500_000)
    put(process, 600_000)
    place = cluster.managers[1]._table.objects[oid].disk
    assert place is not None
    os.pwrite(place.directory.fd, b"damage", place.offset + 1000)
    made = len(sent(cluster, objects.StoreCreate))
    process.fetch(oid)
    cluster.settle()
    assert len(sent(cluster, objects.StoreCreate)) == made + 1
    assert [view[0] for view in process.views] == [oid]


def test_a_damaged_spill_file_is_reported_if_nothing_can_make_it_again(cluster: Cluster) -> None:
    process = cluster.process(1)
    process.remake = False
    oid = put(process, 500_000)
    put(process, 600_000)
    place = cluster.managers[1]._table.objects[oid].disk
    assert place is not None
    os.ftruncate(place.directory.fd, 0)
    assert get(process, oid).kind == objects.ERROR


@pytest.mark.parametrize("problem", ["absent", "a file"])
def test_an_unusable_spill_directory_is_named(tmp_path: Path, problem: str) -> None:
    path = tmp_path / "spill"
    if problem == "a file":
        path.write_text("")
    cluster = Cluster(1, 1, STORE_BYTES, str(path))
    process = cluster.process(1)
    put(process, 800_000)
    put(process, 800_000)
    assert f"Spilling to disk does not help: {path}: N" in process.answers[0].error
    cluster.close()


def test_a_machine_without_memory_limits_the_store(
    diskless: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fallocate` says no: an error instead of a SIGBUS, and another try later."""
    arena = diskless.arenas[1]
    process = diskless.process(1)
    with monkeypatch.context() as context:
        context.setattr(arena, "commit", lambda offset, size: offset + size <= 500_000)
        put(process, 800_000)
        assert "no more memory to give" in process.answers.pop().error
        assert process.owned[put(process, 300_000)] == "stored"
    diskless.pass_time(6)
    assert process.owned[put(process, 600_000)] == "stored"


def test_a_view_taken_while_the_object_is_being_spilled_stays(cluster: Cluster) -> None:
    process = cluster.process(1)
    oid = put(process, 500_000)
    process.write(process.new(), 800_000)
    while cluster.step():
        pass
    assert cluster.managers[1]._table.objects[oid].job == "spill"
    process.fetch(oid)
    while cluster.step():
        pass
    cluster.settle(1)
    process.unpin()  # compares what it sees with what was written
    cluster.settle()
    assert "error" not in process.owned.values(), "room came when the view was gone"


def test_a_reader_goes_before_a_writer(diskless: Cluster) -> None:
    """What readers get leads to memory let go of; what writers write does not."""
    cluster = Cluster(1, 2, STORE_BYTES, None)
    near, far = cluster.process(1), cluster.process(2)
    oid = put(far, 400_000)
    filler = put(near, 900_000)
    near.write(near.new(), 700_000)
    near.fetch(oid)
    while cluster.step():
        pass
    near.free(filler)
    cluster.settle()
    assert [view[0] for view in near.views] == [oid]
    cluster.close()
