"""`Cluster`: several nodes on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rayhpc
from rayhpc.cluster_utils import Cluster
from rayhpc.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    rayhpc.shutdown()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield made
    made.shutdown()


@rayhpc.remote
def where() -> tuple[str, str]:
    context = rayhpc.get_runtime_context()
    return context.get_node_id(), rayhpc.util.get_node_ip_address()


def alive() -> set[str]:
    return {x["NodeID"] for x in rayhpc.nodes() if x["Alive"]}


def test_nodes_come_and_go(nodes: Cluster) -> None:
    special = {"resources": {"special": 3}, "labels": {"zone": "b"}}
    second = nodes.add_node(num_cpus=2, node_name="the second", **special)
    nodes.wait_for_nodes()
    nodes.connect()
    assert rayhpc.cluster_resources()["CPU"] == 3
    assert rayhpc.cluster_resources()["special"] == 3
    assert alive() == {x.node_id for x in nodes.list_all_nodes()}
    names = {x["NodeID"]: x["NodeName"] for x in rayhpc.nodes()}
    assert names.pop(second.node_id) == "the second"
    assert "the second" not in names.values()
    there = where.options(resources={"special": 1}).remote()
    assert rayhpc.get(there, timeout=30) == (second.node_id, second.node_ip_address)
    here = where.options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(nodes.head_node.node_id, soft=False)
    ).remote()
    assert rayhpc.get(here, timeout=30)[1] == nodes.head_node.node_ip_address
    assert second.node_ip_address != nodes.head_node.node_ip_address
    nodes.remove_node(second)
    nodes.wait_for_nodes()
    assert alive() == {nodes.head_node.node_id}


def test_what_no_node_has_is_no_resource() -> None:
    made = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 0})
    try:
        assert "CPU" not in rayhpc.cluster_resources()
        assert "CPU" not in rayhpc.nodes()[0]["Resources"]
        assert rayhpc.cluster_resources()["memory"] > 0
    finally:
        rayhpc.shutdown()
        made.shutdown()


def test_a_node_can_be_removed_as_by_a_crash(nodes: Cluster) -> None:
    second = nodes.add_node(num_cpus=1)
    nodes.connect()
    assert second.remaining_processes_alive()
    nodes.remove_node(second, allow_graceful=False)
    assert not second.any_processes_alive()
    assert nodes.head_node.any_processes_alive()
    nodes.wait_for_nodes()
    assert alive() == {nodes.head_node.node_id}
    with pytest.raises(ValueError, match="not a node"):
        nodes.remove_node(second)


def test_the_address_connects_a_driver(nodes: Cluster) -> None:
    assert {x.address for x in nodes.list_all_nodes()} == {nodes.address} == {nodes.gcs_address}
    context = rayhpc.init(address=nodes.address)
    assert context.address_info["address"] == nodes.address
    assert alive() == {nodes.head_node.node_id}


def test_the_head_may_go_last(nodes: Cluster) -> None:
    nodes.add_node()
    nodes.remove_node(nodes.worker_nodes[0])
    nodes.remove_node(nodes.head_node)
    assert nodes.list_all_nodes() == []


def test_without_its_head_a_cluster_only_ends(nodes: Cluster) -> None:
    other = nodes.add_node()
    nodes.remove_node(nodes.head_node)
    assert nodes.head_node is None
    assert nodes.list_all_nodes() == [other]
    with pytest.raises(ValueError, match="lost its head"):
        nodes.add_node()
    assert other.node.process.wait(60) is not None
    nodes.shutdown()
    assert nodes.list_all_nodes() == []


def test_mistakes_are_named(nodes: Cluster) -> None:
    with pytest.raises(TypeError, match="num_cpu"):
        nodes.add_node(num_cpu=1)
    with pytest.raises(ValueError):
        nodes.add_node(num_cpus=-1)
    with pytest.raises(ValueError, match="head"):
        Cluster(connect=True)
    with pytest.raises(ValueError, match="head"):
        Cluster(head_node_args={"num_cpus": 1})
    with pytest.raises(ValueError, match="no node"):
        Cluster().connect()
