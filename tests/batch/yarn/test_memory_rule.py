"""How YARN counts a container's memory, from its configuration to the size of the store."""

from __future__ import annotations

import pytest

from rayhpc.allocation.sizing import size_node
from rayhpc.batch.detect import detect
from rayhpc.batch.yarn.memory_rule import counts_shared
from rayhpc.hadoop.configuration import Configuration
from tests.promises.machines import GIB, machine

PREFIX = "yarn.nodemanager"
TREE = f"{PREFIX}.container-monitor.process-tree.class"
SMAPS = f"{PREFIX}.container-monitor.procfs-tree.smaps-based-rss.enabled"
CONTAINER = {
    "CONTAINER_ID": "container_1_0001_01_000002",
    "NM_HOST": "h1",
    "RAYHPC_MEMORY_MB": "10240",
}


@pytest.mark.parametrize(
    ("properties", "counts"),
    [
        ({}, True),
        ({f"{PREFIX}.pmem-check-enabled": "false"}, False),
        ({SMAPS: "true"}, True),
        ({SMAPS: "true", TREE: "org.apache.hadoop.yarn.util.ProcfsBasedProcessTree"}, False),
        ({TREE: "org.apache.hadoop.yarn.util.ProcfsBasedProcessTree"}, True),
    ],
)
def test_the_configuration_says_how_it_counts(properties: dict[str, str], counts: bool) -> None:
    assert counts_shared(Configuration(properties)) is counts


@pytest.mark.parametrize(
    ("told", "cpus", "share"),
    [({}, 1, 0.3), ({}, 5, 0.1), ({"RAYHPC_COUNTS_SHARED": "0"}, 5, 0.3)],
)
def test_a_full_store_that_all_workers_have_read_fits(
    told: dict[str, str], cpus: int, share: float
) -> None:
    environ = {**CONTAINER, "RAYHPC_NUM_CPUS": str(cpus), **told}
    here = machine(environ, online=16, memory=64 * GIB)
    found = size_node(here, detect(environ, here))
    assert found.memory.value == 10 * GIB
    assert found.object_store_memory.value == pytest.approx(10 * GIB * share, abs=2)
