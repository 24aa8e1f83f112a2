"""How long one large object takes to all nodes: `python -m tests.bench.broadcast [--nodes 8]`.

The driver's node has it and no CPUs; a task on each other node reads its first, last and middle
words.  All nodes are on this machine and share its processors and memory, so that the sum over the
nodes is the figure to look at.  Prints seconds, GB/s in all, and the same for a single node.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import rayhpc as ray
from rayhpc.launch.cluster import LocalCluster
from rayhpc.launch.options import NodeOptions

ROOM = 64 * 2**20


@ray.remote(scheduling_strategy="SPREAD")
def ends(data: Any) -> tuple[int, int, int, str]:
    middle = int(data[len(data) // 2])
    return int(data[0]), middle, int(data[-1]), ray.get_runtime_context().get_node_id()


def seconds_for(nodes: int, size: int) -> float:
    """How long it takes until that many nodes have it.  Raises AssertionError: a wrong answer."""
    cluster = LocalCluster()
    try:
        for number in range(nodes + 1):
            options = NodeOptions(num_cpus=min(number, 1), object_store_memory=size + ROOM)
            cluster.add_node(options)
        ray.init(cluster.head.session_dir, log_to_driver=False)
        small = np.arange(3)
        ray.get([ends.remote(small) for _ in range(4 * nodes)])  # workers know numpy
        data = np.arange(size // 8)
        ref = ray.put(data)
        begin = time.perf_counter()
        found = ray.get([ends.remote(ref) for _ in range(nodes)])
        spent = time.perf_counter() - begin
        assert {x[:3] for x in found} == {(0, len(data) // 2, len(data) - 1)}
        assert len({node for *_, node in found}) == nodes, "one node ran two of the tasks"
        return spent
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    """Measure it for one node and for all."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--mib", type=int, default=1024)
    options = parser.parse_args()
    size = options.mib * 2**20
    for nodes in (1, options.nodes):
        spent = seconds_for(nodes, size)
        rate = nodes * size / 1e9 / spent
        print(f"{options.mib} MiB to {nodes} nodes {spent:8.2f} s {rate:8.2f} GB/s", flush=True)


if __name__ == "__main__":
    main()
