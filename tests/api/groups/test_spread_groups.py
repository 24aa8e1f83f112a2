"""SPREAD groups on two nodes: one bundle on each, whatever the nodes did a moment ago."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rayhpc
from rayhpc.cluster_utils import Cluster
from rayhpc.util import placement_group, placement_group_table, remove_placement_group

GROUPS = 50


@pytest.fixture(scope="module")
def two_nodes(_clusters: Any) -> Iterator[None]:
    _clusters.end()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    rayhpc.init(cluster.address)
    cluster.wait_for_nodes()
    yield
    rayhpc.shutdown()
    cluster.shutdown()


@rayhpc.remote
def briefly() -> None:
    time.sleep(0.02)


@rayhpc.remote(num_cpus=1)
class Holder:
    def ready(self) -> None:
        return None


def tasks() -> None:
    rayhpc.get([briefly.remote() for _ in range(8)])


def actors() -> None:
    holders = [Holder.options(scheduling_strategy="SPREAD").remote() for _ in range(4)]
    rayhpc.get([x.ready.remote() for x in holders])
    for holder in holders:
        rayhpc.kill(holder)


def nothing() -> None:
    return None


def pause() -> None:
    time.sleep(random.uniform(0, 0.2))


@pytest.mark.usefixtures("two_nodes")
def test_two_bundles_get_a_node_each_every_time() -> None:
    before: list[Callable[[], None]] = [tasks, actors, nothing, pause]
    shared: list[str] = []
    for number in range(GROUPS):
        action = before[number % len(before)]
        action()
        group = placement_group([{"CPU": 1}] * 2, strategy="SPREAD")
        assert group.wait(20)
        nodes = placement_group_table(group)["bundles_to_node_id"].values()
        if len(set(nodes)) < 2:
            shared.append(action.__name__)
        remove_placement_group(group)
    assert shared == []
