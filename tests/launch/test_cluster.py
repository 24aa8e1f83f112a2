"""Several nodes on one machine: they join, are counted, leave, and crash."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import node_config, sessions
from rayhpc.launch.cluster import LocalCluster, loopback_address
from rayhpc.launch.observer import Observer, Operator
from rayhpc.launch.options import NodeOptions
from rayhpc.launch.spawn import NodeProcess
from rayhpc.wire import keys
from rayhpc.wire.messages.looking import Stacks, ThreadStack
from tests.launch.processes import family, left_of, wait_until_gone

ONE_CPU = NodeOptions(num_cpus=1)


@pytest.fixture(autouse=True)
def _own_directories(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAYHPC_ADDRESS", raising=False)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    made = LocalCluster()
    yield made
    made.shutdown()


def refused(cluster: LocalCluster, **changes: object) -> LaunchError:
    """How a node that comes with another key or version ends."""
    process = NodeProcess()
    try:
        plan = node_config.make_plan(
            node_config.look_around({}, rank=0, size=1),
            NodeOptions(num_cpus=1, node_ip="127.0.0.9"),
            msgspec.structs.replace(cluster._key),
            kind="embedded",
        )
        for name, value in changes.items():
            if name in ("python", "version"):
                setattr(plan.raylet, name, value)
            else:
                plan.raylet.cluster = msgspec.structs.replace(plan.raylet.cluster, **{name: value})
        process.send(plan)
        with pytest.raises(LaunchError) as caught:
            process.wait_ready(30)
        return caught.value
    finally:
        process.stop()


def test_loopback_addresses() -> None:
    assert [loopback_address(each) for each in (1, 2, 254, 255)] == [
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.254",
        "127.0.1.1",
    ]


def test_nodes_join_leave_and_crash(cluster: LocalCluster) -> None:
    nodes = [cluster.add_node(ONE_CPU) for _ in range(3)]
    assert [node.node_ip for node in nodes] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    alive = cluster.wait_for_nodes()
    assert {each.info.node_id for each in alive} == {node.node_id for node in nodes}
    assert sorted(each.info.rank for each in alive) == [0, 1, 2]
    assert sessions.find(cluster.address).session_dir == nodes[0].session_dir
    known = [family(node.process.pid) for node in nodes]

    cluster.remove_node(nodes[1])
    cluster.wait_for_nodes(2)
    cluster.remove_node(nodes[2], graceful=False)
    (left,) = cluster.wait_for_nodes(1)
    assert left.info.is_head
    with Observer(nodes[0].session_dir) as observer:
        ended = [each for each in observer.nodes() if not each.alive]
    assert all(each.ended for each in ended)
    assert left_of(known[1]) == left_of(known[2]) == []

    cluster.shutdown()
    assert left_of(known[0]) == []
    assert wait_until_gone(Path(node.session_dir) for node in nodes) == []


def test_an_operator_that_is_asked_says_that_it_runs_nothing(cluster: LocalCluster) -> None:
    node = cluster.add_node(ONE_CPU)
    with Operator(node.session_dir) as operator, Observer(node.session_dir) as observer:
        waiting = threading.Thread(target=operator.wait, args=(1.0,))
        waiting.start()
        with pytest.raises(LaunchError, match="runs no task"):
            observer.ask(Stacks(), list[ThreadStack], operator._me)
        waiting.join()
        assert len(operator.nodes()) == 1


def test_the_others_end_when_the_heads_node_is_removed(cluster: LocalCluster) -> None:
    head = cluster.add_node(ONE_CPU)
    other = cluster.add_node(ONE_CPU)
    cluster.remove_node(head)
    with pytest.raises(LaunchError, match="lost its head"):
        cluster.wait_for_nodes()
    assert other.process.wait(60) is not None


def test_the_heads_death_ends_the_others(cluster: LocalCluster) -> None:
    head = cluster.add_node(ONE_CPU)
    other = cluster.add_node(ONE_CPU)
    known = family(other.process.pid)
    head.process.kill()
    assert other.process.wait(60) == ExitCode.HEAD_LOST
    assert left_of(known) == []
    assert wait_until_gone([Path(other.session_dir)]) == []


def test_an_orderly_end_is_no_failure(cluster: LocalCluster) -> None:
    head = cluster.add_node(ONE_CPU)
    other = cluster.add_node(ONE_CPU)
    head.process.let_go()
    assert other.process.wait(60) == 0
    assert head.process.wait(60) == 0


def test_a_wrong_key_gets_nothing_and_disturbs_nothing(cluster: LocalCluster) -> None:
    cluster.add_node(ONE_CPU)
    error = refused(cluster, node=keys.new_key_pair())
    assert error.code in (ExitCode.HEAD_LOST, ExitCode.REFUSED)
    assert len(cluster.wait_for_nodes(1)) == 1


def test_a_foreign_head_is_not_taken_for_ours(cluster: LocalCluster) -> None:
    cluster.add_node(ONE_CPU)
    error = refused(cluster, head_public=keys.new_key_pair().public)
    assert error.code in (ExitCode.HEAD_LOST, ExitCode.REFUSED)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"cluster_id": "f" * 32}, "cluster"),
        ({"python": "2.7"}, "2.7"),
        ({"version": "0.0.0"}, "0.0.0"),
    ],
)
def test_another_cluster_or_version_is_refused_with_a_sentence(
    cluster: LocalCluster, changes: dict[str, object], word: str
) -> None:
    cluster.add_node(ONE_CPU)
    error = refused(cluster, **changes)
    assert error.code == ExitCode.REFUSED
    assert word in str(error)


def test_a_scanner_on_every_port_disturbs_nothing(cluster: LocalCluster) -> None:
    cluster.add_node(ONE_CPU)
    cluster.add_node(ONE_CPU)
    alive = cluster.wait_for_nodes(2)
    record = sessions.find(cluster.address)
    places = [tuple(each) for node in alive for each in node.info.endpoints]
    places += [(ip, int(port)) for ip, _, port in (e.rpartition(":") for e in record.endpoints)]
    for ip, port in places:
        for junk in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\xff" + b"\0" * 8 + b"\x7f" + b"\0" * 54):
            with socket.create_connection((ip, port), timeout=5) as probe:
                probe.sendall(junk)
    assert len(cluster.wait_for_nodes(2)) == 2


def test_every_listener_lies_in_the_range(cluster: LocalCluster) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        middle = max(2048, min(60000, probe.getsockname()[1]))
    ports = (middle - 40, middle + 40)
    cluster.add_node(NodeOptions(num_cpus=1, ports=ports))
    (node,) = cluster.wait_for_nodes(1)
    record = sessions.find(cluster.address)
    used = [port for _, port in node.info.endpoints]
    used += [int(each.rpartition(":")[2]) for each in record.endpoints]
    assert all(ports[0] <= port <= ports[1] for port in used)


def test_a_range_that_others_have_taken(cluster: LocalCluster) -> None:
    first, second = two_neighbours()
    with first, second:
        port = first.getsockname()[1]
        with pytest.raises(LaunchError, match=str(port)) as caught:
            cluster.add_node(NodeOptions(num_cpus=1, ports=(port, port + 1)))
    assert caught.value.code == ExitCode.CONFIGURATION


def two_neighbours() -> tuple[socket.socket, socket.socket]:
    """Two listeners on ports that follow each other."""
    while True:
        first, second = socket.socket(), socket.socket()
        first.bind(("127.0.0.1", 0))
        try:
            second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        except OSError:
            first.close()
            second.close()
            continue
        first.listen()
        second.listen()
        return first, second
