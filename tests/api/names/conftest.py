"""The two nodes that all these tests share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rayhpc as ray
from rayhpc.cluster_utils import Cluster, ClusterNode
from rayhpc.machine import scratch
from tests.api.names.naming import Two

GPU_IDS = "3,GPU-8f2a-11"
MEBI = 2**20


@pytest.fixture(scope="package")
def two() -> Iterator[Two]:
    """Two nodes with two CPUs each; the far one has two GPUs, by index and by UUID."""
    ray.shutdown()  # another folder's tests may have left theirs
    # A place of our own: `auto` must find just these sessions.
    folder = tempfile.mkdtemp(prefix="rn-", dir="/tmp")
    store = 100 * MEBI
    near = {"labels": {"zone": "near"}, "resources": {"near": 1}, "memory": 3072 * MEBI}
    far = {"labels": {"zone": "far"}, "resources": {"far": 1}, "memory": 5120 * MEBI}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(scratch.VARIABLE, folder)
        patch.delenv("RAYHPC_ADDRESS", raising=False)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "object_store_memory": store, **near},
        )
        try:
            with pytest.MonkeyPatch.context() as gpus:
                gpus.setenv("CUDA_VISIBLE_DEVICES", GPU_IDS)
                cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=store, **far)
            cluster.connect(namespace="names")
            cluster.wait_for_nodes()
            ids = {x["Labels"]["zone"]: x["NodeID"] for x in ray.nodes()}
            assert ray.get_runtime_context().get_node_id() == ids["near"]
            yield Two(cluster, ids["near"], ids["far"])
        finally:
            cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def third(two: Two) -> Iterator[Callable[..., ClusterNode]]:
    """Starts a further node, for a test that needs another kind of node or ends one."""
    made: list[ClusterNode] = []

    def start(**options: Any) -> ClusterNode:
        given = {"num_cpus": 2, "resources": {"third": 1}, "object_store_memory": 80 * MEBI}
        made.append(two.cluster.add_node(**{**given, **options}))
        return made[-1]

    yield start
    for node in made:
        if node in two.cluster.worker_nodes:
            two.cluster.remove_node(node)
    two.cluster.wait_for_nodes()
