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


def test_a_value_larger_than_the_store_is_refused_at_once_without_a_disk(
    diskless: Cluster,
) -> None:
    process = diskless.process(1)
    process.write(process.new(), STORE_BYTES + 1)
    diskless.settle()
    error = process.answers[0].error
    assert "larger than this node's whole object store (1.0 MiB), and no disk has room" in error
    assert diskless.time < 1


def test_a_value_larger_than_the_store_is_mapped_from_disk_on_every_node(cluster: Cluster) -> None:
    writer, near, far = cluster.process(1), cluster.process(1), cluster.process(2)
    oid = put(writer, 3 * STORE_BYTES + 17)
    assert writer.owned[oid] == "stored"
    assert get(near, oid).path
    assert get(far, oid).path
    assert get(far, oid).path, "what is mapped is mapped again at once"
    assert cluster.managers[1].used == cluster.managers[2].used == 0
    while far.views:
        far.unpin()
    cluster.settle()
    assert cluster.managers[2].spilled == 0, "a copy that nobody reads goes"
    near.unpin()
    writer.free(oid)
    cluster.settle()
    assert not leftovers(cluster)


def test_a_store_full_of_what_is_in_use_takes_more_on_disk(cluster: Cluster) -> None:
    process = cluster.process(1)
    held = [put(process, 400_000) for _ in range(2)]
    assert not any(get(process, oid).path for oid in held)
    more = [put(process, 400_000) for _ in range(4)]
    assert [process.owned[oid] for oid in more] == ["stored"] * 4
    assert all(get(process, oid, within=0.5).path for oid in more)
    for oid in [*held, *more]:
        process.unpin()
        process.free(oid)
    cluster.settle()
    assert not leftovers(cluster)


def test_what_was_spilled_is_read_on_disk_when_memory_and_disk_are_full(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = cluster.process(1)
    spilled = [put(process, 500_000) for _ in range(4)][:2]
    monkeypatch.setattr(cluster.managers[1]._spiller, "place", lambda size: None)
    held = [oid for oid in process.owned if oid not in spilled]
    for oid in held:
        assert not get(process, oid).path
    for oid in spilled:
        assert get(process, oid, within=0.5).path, "no room has to be made for it"


def test_copies_for_which_there_is_no_room_come_to_disk(cluster: Cluster) -> None:
    near, far = cluster.process(1), cluster.process(2)
    oids = [put(far, 300_000) for _ in range(6)]
    for oid in oids:
        assert get(near, oid, within=0.5).size == 300_000
    assert {bool(view.path) for view in near.views} == {True, False}


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
    assert [view.oid for view in process.views] == [oid]


def test_a_damaged_spill_file_is_reported_if_nothing_can_make_it_again(cluster: Cluster) -> None:
    process = cluster.process(1)
    process.remake = False
    oid = put(process, 500_000)
    put(process, 600_000)
    place = cluster.managers[1]._table.objects[oid].disk
    assert place is not None
    os.ftruncate(place.directory.fd, 0)
    assert get(process, oid).kind == objects.ERROR
    (reason,) = process.reasons
    assert f"in a spill file in {place.directory.path}, is corrupt" in reason


def test_so_is_one_that_would_have_been_mapped(cluster: Cluster) -> None:
    process = cluster.process(1)
    process.remake = False
    oid = put(process, 500_000)
    held = [put(process, 500_000) for _ in range(2)]
    place = cluster.managers[1]._table.objects[oid].disk
    assert place is not None
    os.pwrite(place.directory.fd, b"damage", place.offset + 1000)
    for each in held:
        get(process, each)
    assert get(process, oid, within=0.5).kind == objects.ERROR
    assert "is corrupt" in process.reasons[0]


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
    assert [view.oid for view in near.views] == [oid]
    cluster.close()
