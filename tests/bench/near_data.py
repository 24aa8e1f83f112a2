"""Tasks that take a large object of another node: where they run, and what that saves.

    python -m tests.bench.near_data

Prints how many a second run where their data is, how many when it is brought to them each time, and
the ratio of the two.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from rayhpc.util.scheduling_strategies import NodeAffinitySchedulingStrategy

MIB = 16
OBJECTS = 24


@ray.remote(resources={"far": 0.001})
def make() -> Any:
    return np.zeros(MIB << 17)


@ray.remote
def take(data: Any) -> float:
    return float(data[0])


def rate(function: Any) -> float:
    """Tasks a second, each with an object of its own that lies on the other node."""
    data = [make.remote() for _ in range(OBJECTS)]
    ray.wait(data, num_returns=OBJECTS, fetch_local=False)
    start = time.perf_counter()
    ray.get([function.remote(x) for x in data])
    return OBJECTS / (time.perf_counter() - start)


def main() -> None:
    """Measure both, print the ratio."""
    store = 2 * OBJECTS * MIB << 20
    head = {"num_cpus": 2, "object_store_memory": store}
    cluster = Cluster(initialize_head=True, head_node_args=head, connect=True)
    cluster.add_node(num_cpus=2, resources={"far": 1}, object_store_memory=store)
    cluster.wait_for_nodes()
    here = NodeAffinitySchedulingStrategy(cluster.head_node.node_id, soft=False)
    fetched = take.options(scheduling_strategy=here)
    for function in (take, fetched):
        rate(function)  # workers start, memory is touched
    near, far = rate(take), rate(fetched)
    print(f"tasks that take {MIB} MiB of another node: {near:,.0f}/s where the data is, ", end="")
    print(f"{far:,.0f}/s where it is brought to them: {near / far:.1f} times as many")
    cluster.shutdown()


if __name__ == "__main__":
    main()
