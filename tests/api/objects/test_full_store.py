"""More than the object store holds: from memory to disk, read where it lies."""

from __future__ import annotations

import gc
import glob
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest

import rayhpc as ray
from rayhpc import exceptions
from rayhpc.cluster_utils import Cluster

MIB = 2**20
STORE = 80 * MIB


@pytest.fixture(scope="module", params=[1, 2])
def options(request: Any) -> Iterator[dict[str, Any]]:
    """One node or two; what brings work to the last of them."""
    ray.shutdown()
    head = {"num_cpus": 2, "object_store_memory": STORE}
    made = Cluster(initialize_head=True, head_node_args=head, connect=True)
    if request.param == 2:
        made.add_node(num_cpus=2, object_store_memory=STORE, resources={"far": 1})
        made.wait_for_nodes()
    yield {"resources": {"far": 0.01}} if request.param == 2 else {}
    made.shutdown()


@ray.remote
def make(number: int, size: int) -> Any:
    return np.full(size, number, np.uint8)


@ray.remote
def hold(*arrays: Any) -> list[int]:
    """All of its arguments at once."""
    return [int(x[0]) + int(x[-1]) for x in arrays]


@ray.remote
class Holder:
    def __init__(self) -> None:
        self.held: list[Any] = []

    def take(self, refs: list[Any]) -> list[int]:
        self.held = ray.get(refs)
        return [int(x[0]) for x in self.held]


def test_arrays_in_use_may_be_more_than_the_store(options: dict[str, Any]) -> None:
    held = []
    for i in range(8):
        held.append(ray.get(ray.put(np.full(20 * MIB, i, np.uint8)), timeout=30))
    assert [int(x[0]) for x in held] == list(range(8))
    assert not any(x.flags.writeable for x in held)


def test_get_of_more_than_the_store_holds(options: dict[str, Any]) -> None:
    refs = [make.options(**options).remote(i, 20 * MIB) for i in range(9)]
    found = ray.get(refs, timeout=60)
    assert [int(x[0]) + int(x[-1]) for x in found] == [2 * i for i in range(9)]
    del found
    assert ray.get(hold.options(**options).remote(*refs), timeout=60) == [2 * i for i in range(9)]
    holder = Holder.options(**options).remote()
    assert ray.get(holder.take.remote(refs), timeout=60) == list(range(9))


def test_a_value_larger_than_the_store(options: dict[str, Any]) -> None:
    size = 2 * STORE + 12345
    ref = ray.put(np.full(size, 7, np.uint8))
    assert int(ray.get(ref, timeout=60)[-1]) == 7
    assert ray.get(hold.options(**options).remote(ref), timeout=60) == [14]
    back = ray.get(make.options(**options).remote(9, size), timeout=60)
    assert (len(back), int(back[-1])) == (size, 9)


def spill_files() -> list[str]:
    """The nameless files of this machine's raylets, as descriptors of theirs."""
    found = []
    for process in psutil.Process().children(recursive=True):
        for path in glob.glob(f"/proc/{process.pid}/fd/*"):
            try:
                target = os.readlink(path)
                if target.endswith("(deleted)") and os.stat(path).st_blocks * 512 > MIB:
                    found.append(path)
            except OSError:
                continue
    return [x for x in found if "memfd" not in os.readlink(x)]


def test_a_corrupt_spill_file_is_named(options: dict[str, Any]) -> None:
    refs = [ray.put(np.full(20 * MIB, i, np.uint8)) for i in range(8)]
    files = spill_files()
    assert files
    for path in files:
        with open(path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            for position in range(0, size, MIB // 2):
                file.seek(position)
                file.write(b"damage")
    lost = 0
    for i, ref in enumerate(refs):
        try:
            assert int(ray.get(ref, timeout=60)[-1]) == i
        except exceptions.ObjectLostError as error:
            assert "spill file" in str(error)
            assert "corrupt" in str(error)
            lost += 1
    assert lost


@ray.remote(num_cpus=0)
class Rings:
    """Keeps values in rings of references, which go only when the garbage collector runs."""

    def __init__(self) -> None:
        gc.disable()
        self._collected = threading.Event()
        gc.callbacks.append(lambda phase, _: phase == "stop" and self._collected.set())

    def make(self, size: int) -> None:
        ring: list[Any] = [ray.put(np.zeros(size, np.uint8))]
        ring.append(ring)

    def wait(self, seconds: float) -> bool:
        return self._collected.wait(seconds)


def test_values_in_rings_of_references_go_as_the_store_fills_up(options: dict[str, Any]) -> None:
    rings = Rings.options(**options).remote()
    ray.get(rings.make.remote(20 * MIB), timeout=30)
    assert not ray.get(rings.wait.remote(0.3), timeout=30)
    ray.get([rings.make.remote(20 * MIB) for _ in range(2)], timeout=30)
    assert ray.get(rings.wait.remote(30), timeout=40)
