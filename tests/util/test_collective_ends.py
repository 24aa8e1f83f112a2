"""Collective operations of a group that loses a whole node, or whose driver leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rayhpc
from rayhpc.cluster_utils import Cluster
from rayhpc.exceptions import CollectiveGroupError
from rayhpc.util import collective as col


@rayhpc.remote(num_cpus=0)
class Member:
    def join(self, size: int, rank: int) -> None:
        col.init_collective_group(size, rank, "gloo")

    def reduce(self) -> float:
        array = np.ones(200_000)
        col.allreduce(array)
        return float(array[-1])


@rayhpc.remote(num_cpus=0)
class AsyncMember:
    async def reduce(self, rank: int) -> float:
        col.init_collective_group(2, rank, "gloo", "async")
        array = np.ones(200_000)
        col.allreduce(array, "async")
        return float(array[-1])


def test_a_node_that_is_lost_is_an_error_for_those_who_wait() -> None:
    rayhpc.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"resources": {"near": 10}})
    try:
        lost = cluster.add_node(resources={"far": 10})
        rayhpc.init(cluster.address)
        cluster.wait_for_nodes()
        near = [Member.options(resources={"near": 1}).remote() for _ in range(2)]
        members = [*near, Member.options(resources={"far": 1}).remote()]
        rayhpc.get([x.join.remote(3, i) for i, x in enumerate(members)], timeout=60)
        assert rayhpc.get([x.reduce.remote() for x in members], timeout=60) == [3.0] * 3
        waiting = [x.reduce.remote() for x in near]
        rayhpc.wait(waiting, timeout=0.2)
        cluster.remove_node(lost, allow_graceful=False)
        for ref in waiting:
            with pytest.raises(CollectiveGroupError, match="has ended"):
                rayhpc.get(ref, timeout=90)
    finally:
        rayhpc.shutdown()
        cluster.shutdown()


def test_in_each_cluster_that_a_program_joins() -> None:
    def work() -> Any:
        rayhpc.init(num_cpus=2)
        made = [Member.remote() for _ in range(2)]
        col.create_collective_group(made, 2, [0, 1], "gloo")
        found = rayhpc.get([x.reduce.remote() for x in made], timeout=60)
        loops = [AsyncMember.remote() for _ in range(2)]
        found += rayhpc.get([x.reduce.remote(i) for i, x in enumerate(loops)], timeout=60)
        rayhpc.shutdown()
        return found

    rayhpc.shutdown()
    assert work() == [2.0] * 4
    assert work() == [2.0] * 4
