"""Large objects over channels of the data plane: what follows each thing that can go wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from object_nodes import Cluster, Process, get, leftovers, put, sent

from rayhpc.raylet.objects import channels, pulls, spill
from rayhpc.wire.address import ObjectId, node_of, raylet_of
from rayhpc.wire.data_plane import CHANNELS_MAX
from rayhpc.wire.messages import objects

STORE_BYTES = 4 << 20
LARGE = 1_500_000
CHUNK = 64 * 1024


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(spill, "PIECE", CHUNK)
    monkeypatch.setattr(pulls, "CHUNK", CHUNK)
    monkeypatch.setattr(pulls, "SPAN", 2 * CHUNK)
    cluster = Cluster(1, 3, STORE_BYTES, None, plane=True)
    yield cluster
    cluster.close()


def two_copies(cluster: Cluster) -> tuple[Process, ObjectId, Process]:
    """An object of node 1's that lies on nodes 1 and 2, and a reader on node 3."""
    owner, other, reader = (cluster.process(node) for node in (1, 2, 3))
    oid = put(owner, LARGE)
    get(other, oid)
    other.unpin()
    cluster.settle()
    return owner, oid, reader


def until(cluster: Cluster, spans: int) -> None:
    """Go on until so many spans have come since."""
    wanted = cluster.net.bytes + spans * CHUNK
    for _ in range(10_000):
        if cluster.net.bytes >= wanted:
            return
        if not cluster.step():
            cluster.pass_time(0.001)
    raise AssertionError("they do not come")


def arrives(cluster: Cluster, reader: Process, oid: ObjectId, within: float) -> bool:
    """Whether the reader has it in time (what it reads is compared with what was written)."""
    end = cluster.time + within
    while cluster.time < end and not reader.views:
        if not cluster.step():
            cluster.pass_time(0.01)
    return [view.oid for view in reader.views] == [oid]


def asked_bytes(cluster: Cluster) -> int:
    return sum(message.length for message in sent(cluster, objects.ReadSpan))


def test_a_large_object_comes_over_channels(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    assert get(reader, oid, within=1).size == LARGE
    assert not sent(cluster, objects.ReadChunk)
    assert asked_bytes(cluster) == LARGE
    assert len({message.channel for message in sent(cluster, objects.ReadSpan)}) == 2


def test_memory_becomes_real_in_parts_while_others_arrive(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "PART", 5 * CHUNK)
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    arena, asked = cluster.arenas[2], []
    commit = arena.commit

    def counted(offset: int, size: int) -> bool:
        asked.append((size, asked_bytes(cluster)))
        return commit(offset, size)

    monkeypatch.setattr(arena, "commit", counted)
    assert get(reader, oid, within=1).size == LARGE
    assert max(size for size, _ in asked) == 5 * CHUNK
    assert asked[0][1] == 0 < asked[-1][1] < LARGE


@pytest.mark.parametrize("by_chunks", [False, True], ids=["channels", "chunks"])
def test_memory_that_ends_in_the_middle_of_an_object(
    by_chunks: bool, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has come is given up, and the object comes again, to the disk."""
    monkeypatch.setattr(pulls, "PART", 5 * CHUNK)
    cluster = Cluster(1, 2, STORE_BYTES, str(tmp_path), plane=not by_chunks)
    owner, reader = cluster.process(1), cluster.process(2)
    get(reader, put(owner, 2 * CHUNK))  # so that channels are open
    reader.unpin()
    owner.free(next(iter(owner.owned)))
    cluster.settle()
    cluster.delivered.clear()
    oid = put(owner, LARGE)
    with monkeypatch.context() as context:
        limit = 20 * CHUNK
        context.setattr(cluster.arenas[2], "commit", lambda offset, size: offset + size <= limit)
        assert get(reader, oid, within=1).path
        messages = objects.ReadChunk if by_chunks else objects.ReadSpan
        assert sum(x.length for x in sent(cluster, messages)) > 5 * CHUNK
        assert cluster.managers[2].used == 0
    reader.unpin()
    owner.free(oid)
    cluster.settle()
    assert not leftovers(cluster)
    cluster.pass_time(6)
    assert not get(reader, put(owner, LARGE)).path, "memory is tried again"
    cluster.close()


def test_a_small_object_needs_no_channel(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    assert get(reader, put(owner, CHUNK)).size == CHUNK
    assert not sent(cluster, objects.AskChannels)


def test_a_small_object_of_its_owners_node_takes_one_round_trip(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, CHUNK)
    cluster.delivered.clear()
    assert get(reader, oid).size == CHUNK
    between = [type(m) for source, to, m in cluster.delivered if node_of(source) != node_of(to)]
    assert between == [objects.Locate, objects.Located, objects.ObjectAt]


def test_a_flood_of_small_objects_is_not_sent_unasked(cluster: Cluster) -> None:
    """What may come along with answers is bounded; the rest is admitted as ever."""
    owner, reader = cluster.process(1), cluster.process(2)
    for oid in [put(owner, 10_000) for _ in range(60)]:
        reader.fetch(oid)
    while not sent(cluster, objects.Located):
        cluster.step()
    assert sum(message.eager for message in sent(cluster, objects.Locate)) <= 16
    cluster.settle()
    assert len(reader.views) == 60


def test_after_a_reset_only_what_is_missing_is_asked_for_again(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    reader.fetch(oid)
    until(cluster, 10)
    cluster.net.cut_all()
    assert arrives(cluster, reader, oid, within=5)
    under_way = channels.CHANNELS_EACH * 2 * 2 * CHUNK
    assert LARGE < asked_bytes(cluster) <= LARGE + under_way
    assert not sent(cluster, objects.ReadChunk)


@pytest.mark.parametrize("fault", ["breaks", "wrong", "stalls"])
def test_another_copy_is_found_in_time(cluster: Cluster, fault: str) -> None:
    _, oid, reader = two_copies(cluster)
    reader.fetch(oid)
    until(cluster, 6)
    setattr(cluster.net, fault, 1.0)
    first = cluster.managers[3]._fetcher._wants[oid].source
    while cluster.managers[3]._fetcher._wants[oid].source == first:
        if not cluster.step():
            cluster.pass_time(0.01)
    setattr(cluster.net, fault, 0.0)
    begun = cluster.time
    assert arrives(cluster, reader, oid, within=5)
    assert cluster.time - begun < 5


@pytest.mark.parametrize("fault", ["breaks", "wrong", "stalls"])
def test_the_only_copy_comes_in_chunks_if_channels_do_not_work(
    cluster: Cluster, fault: str
) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    setattr(cluster.net, fault, 1.0)
    reader.fetch(oid)
    assert arrives(cluster, reader, oid, within=15)
    assert sent(cluster, objects.ReadChunk)


def test_changed_bytes_do_not_send_objects_over_the_control_plane(cluster: Cluster) -> None:
    """There they would break the link of the two raylets.  Smaller parts come through sooner."""
    owner, reader = cluster.process(1), cluster.process(2)
    cluster.net.wrong = 0.6
    for _ in range(5):
        oid = put(owner, LARGE)
        assert get(reader, oid, within=15).size == LARGE
        reader.unpin()
        owner.free(oid)
        cluster.settle()
    assert not sent(cluster, objects.ReadChunk)
    assert CHUNK in {message.length for message in sent(cluster, objects.ReadSpan)}


def test_channels_that_were_open_and_broke_are_not_taken_for_no_answer(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    get(reader, put(owner, LARGE))
    cluster.net.cut_all()
    cluster.settle(channels._OPEN_S)
    get(reader, put(owner, 1_000_000))
    assert not sent(cluster, objects.ReadChunk)
    assert len(sent(cluster, objects.AskChannels)) == 2


def test_a_stall_is_ended_within_five_seconds(cluster: Cluster) -> None:
    _, oid, reader = two_copies(cluster)
    reader.fetch(oid)
    until(cluster, 6)
    for plane in cluster.net.planes.values():
        for line in plane.ours.values():
            line.stalled = True  # from here on; new channels work
    assert arrives(cluster, reader, oid, within=5)


def test_a_source_that_dies_is_replaced_by_another_copy(cluster: Cluster) -> None:
    _, oid, reader = two_copies(cluster)
    before = asked_bytes(cluster)
    cluster.managers[3]._context.random = _Second()  # type: ignore[assignment]
    reader.fetch(oid)
    until(cluster, 8)
    cluster.kill_node(2)
    assert arrives(cluster, reader, oid, within=5)
    # It went on where it was: both copies are of one edition.
    assert asked_bytes(cluster) - before < LARGE * 1.5


class _Second:
    """A chance that chooses node 2 if it may."""

    def choice(self, nodes: list[int]) -> int:
        return 2 if 2 in nodes else nodes[0]

    def sample(self, nodes: list[int], _: int) -> list[int]:
        return nodes


def test_the_only_source_that_dies_has_its_object_made_again(cluster: Cluster) -> None:
    owner, writer, reader = (cluster.process(node) for node in (1, 2, 3))
    oid = owner.new()
    writer.write(oid, LARGE)
    cluster.settle()
    reader.fetch(oid)
    until(cluster, 6)
    cluster.kill_node(2)
    assert arrives(cluster, reader, oid, within=5)


def test_two_editions_are_not_mixed(cluster: Cluster) -> None:
    """What is made again may differ: what has come of the first is asked for again."""
    _, oid, reader = two_copies(cluster)
    other = cluster.managers[2]._table.get(oid)
    assert other is not None
    other.edition += 1
    with cluster.arenas[2].view(other.offset, 1) as view:
        view[:] = b"\x99"
    cluster.managers[3]._context.random = _Second()  # type: ignore[assignment]
    before = asked_bytes(cluster)
    reader.fetch(oid)
    until(cluster, 8)
    cluster.kill_node(2)
    assert arrives(cluster, reader, oid, within=5)  # with the first byte as it was written
    assert asked_bytes(cluster) - before > LARGE


def test_what_is_no_longer_wanted_keeps_its_room_until_nothing_is_written_there(
    cluster: Cluster,
) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    reader.fetch(oid)
    until(cluster, 4)
    reader.cancel(oid)
    for _ in range(20):
        cluster.step()
    # Others are written and read meanwhile, and compared.
    for _ in range(3):
        put(reader, 500_000)
    cluster.settle(1)
    assert not cluster.managers[2]._puller._tokens
    assert cluster.managers[2].used == 3 * 500_032


def test_a_reader_that_dies_leaves_nothing_pinned(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    reader.fetch(oid)
    until(cluster, 4)
    cluster.kill_node(2)
    cluster.settle(1)
    assert not cluster.managers[1]._table.pins
    owner.free(oid)
    cluster.settle(5)
    assert not leftovers(cluster)


def test_what_is_freed_on_its_way_goes_everywhere(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    reader.fetch(oid)
    until(cluster, 4)
    owner.free(oid)
    cluster.settle(5)
    assert not leftovers(cluster)


def test_a_node_that_cannot_be_dialled_is_read_in_chunks_and_not_asked_each_time(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.net.unreachable = {1}
    owner, reader = cluster.process(1), cluster.process(2)
    for _ in range(3):
        assert get(reader, put(owner, 1_000_000), within=1).size == 1_000_000
    assert len(sent(cluster, objects.AskChannels)) == 1
    said = [x for x in caplog.records if "come through the raylets" in x.message]
    assert len(said) == 1
    cluster.net.unreachable = set()
    cluster.settle(channels.REFUSED_S)
    get(reader, put(owner, 500_000), within=1)
    assert sent(cluster, objects.ReadSpan)


def test_what_lies_on_disk_there_comes_in_chunks(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    reader.fetch(oid)
    while not sent(cluster, objects.ReadSpan):
        if not cluster.step():
            cluster.pass_time(0.01)
    first = sent(cluster, objects.ReadSpan)[0]
    refused = objects.SpanRefused(1, first.channel, first.token, objects.NOT_IN_MEMORY)
    cluster.net.planes[1].ours[first.channel].spans.clear()
    cluster.managers[2].handlers()[objects.SpanRefused](0, refused)
    assert arrives(cluster, reader, oid, within=5)
    assert sent(cluster, objects.ReadChunk)


def test_a_request_without_reason_is_bounded_and_reads_nothing_else(cluster: Cluster) -> None:
    owner, reader = cluster.process(1), cluster.process(2)
    oid = put(owner, LARGE)
    cluster.send(raylet_of(2), raylet_of(1), objects.AskChannels(2, 1 << 40))
    cluster.settle(1)
    assert len(sent(cluster, objects.ChannelOffer)) == CHANNELS_MAX
    get(reader, oid)
    (first, *_) = sent(cluster, objects.ReadSpan)
    before = objects.ReadSpan(oid, LARGE, -5, 10, 2, first.channel, 1000)
    cluster.send(raylet_of(2), raylet_of(1), before)
    cluster.settle(1)
    (refused,) = sent(cluster, objects.SpanRefused)
    assert (refused.token, refused.why) == (1000, objects.NO_COPY)
