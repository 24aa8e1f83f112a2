"""What a node takes of a machine, where options say something else than was found."""

from __future__ import annotations

import pytest

from rayhpc.allocation.sizing import NodeSize, size_node
from rayhpc.batch.detect import detect
from tests.promises.machines import GIB, machine


def size(gpus: int = 0, **options: int) -> NodeSize:
    here = machine({}, online=16, memory=64 * GIB, gpus=gpus)
    return size_node(here, detect({}, here), **options)


@pytest.mark.parametrize(
    ("options", "gibibytes"),
    [
        ({}, 64),
        ({"num_cpus": 4}, 16),
        ({"num_cpus": 32}, 64),
        # A head for no tasks still holds a driver and its objects: as a node of one CPU.
        ({"num_cpus": 0}, 4),
        ({"num_cpus": 0, "num_gpus": 1}, 4),
        ({"num_cpus": 0, "gpus": 4, "num_gpus": 1}, 16),
        ({"num_cpus": 0, "gpus": 4, "num_gpus": 0}, 4),
        ({"num_cpus": 4, "gpus": 4, "num_gpus": 2}, 32),
        ({"num_cpus": 4, "memory": 3 * GIB}, 3),
    ],
)
def test_memory_goes_with_the_larger_share(options: dict[str, int], gibibytes: int) -> None:
    found = size(**options)
    assert found.memory.value == gibibytes * GIB
    assert found.object_store_memory.value == int(found.memory.value * 0.3)


def test_what_tasks_may_ask_for_is_no_bound_of_the_store() -> None:
    found = size(memory=10, object_store_memory=GIB)
    assert (found.task_memory, found.object_store_memory.value) == (10, GIB)


def test_what_tasks_may_ask_for_is_no_bound_of_what_processes_use() -> None:
    assert size().memory_limit == 64 * GIB
    assert size(memory=GIB).memory_limit == 64 * GIB
    assert size(num_cpus=4).memory_limit == 16 * GIB
    assert size(num_cpus=4, memory=20 * GIB).memory_limit == 20 * GIB


def test_what_cannot_be_is_refused() -> None:
    for options in ({"num_cpus": -1}, {"memory": 0}, {"object_store_memory": 65 * GIB}):
        with pytest.raises(ValueError, match="cannot be|does not fit"):
            size(**options)
