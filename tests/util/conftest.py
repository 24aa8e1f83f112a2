"""One embedded cluster for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rayhpc
from rayhpc.cluster_utils import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local cluster with four CPUs, whatever this machine has."""
    rayhpc.shutdown()  # another folder's tests may have left theirs
    rayhpc.init(num_cpus=4, object_store_memory=200 * 2**20)
    yield
    rayhpc.shutdown()


@pytest.fixture(scope="module", params=[1, 2], ids=["one node", "two nodes"])
def nodes(request: pytest.FixtureRequest) -> Iterator[int]:
    """A cluster with four CPUs on one node, then one with two on each of two; how many nodes."""
    rayhpc.shutdown()
    store = 300 * 2**20
    if request.param == 1:
        rayhpc.init(num_cpus=4, object_store_memory=store)
        yield 1
        rayhpc.shutdown()
        return
    options = {"num_cpus": 2, "object_store_memory": store}
    made = Cluster(initialize_head=True, head_node_args={**options, "resources": {"near": 100}})
    try:
        made.add_node(**options, resources={"far": 100})
        rayhpc.init(made.address)
        made.wait_for_nodes()
        yield 2
    finally:
        rayhpc.shutdown()
        made.shutdown()
