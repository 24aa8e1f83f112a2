"""A hundred tasks inside each other on one CPU: each gives its CPU back while it waits."""

from __future__ import annotations

import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from tests.chaos.workloads import down

DEPTH = 100


def test_recursion_finishes_on_one_cpu() -> None:
    ray.shutdown()
    cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 1})
    try:
        assert ray.get(down.remote(DEPTH), timeout=100) == DEPTH
    finally:
        cluster.shutdown()
