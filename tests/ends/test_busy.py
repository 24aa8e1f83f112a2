"""Who holds its interpreter's lock in compiled code answers nobody, and holds nobody up."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rayhpc as ray
from rayhpc.cluster_utils import Cluster

BUSY_S = 3.0


def hold_the_lock(seconds: float) -> None:
    """Sleep in C without letting any other thread of this process run."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 2})
    made.add_node(num_cpus=1, resources={"other": 1})
    yield made
    made.shutdown()


@ray.remote(num_cpus=0)
class Owner:
    """Owns objects, and can be out of reach."""

    def __init__(self) -> None:
        self.refs: list[Any] = []

    def make(self) -> list[Any]:
        import numpy as np

        self.refs = [ray.put(7), ray.put(np.arange(300_000)), square.remote(3)]
        ray.wait(self.refs, num_returns=3)
        return self.refs

    def be_busy(self) -> float:
        start = time.time()
        hold_the_lock(BUSY_S)
        return start


@ray.remote
def square(x: int) -> int:
    return x * x


@ray.remote
def read(refs: list[Any]) -> int:
    small, large, computed = ray.get(refs)
    return int(small + large.sum() + computed)


def test_objects_of_a_busy_owner_are_read_on_every_node(cluster: Cluster) -> None:
    owner = Owner.remote()
    refs = ray.get(owner.make.remote())
    ray.get(refs[0])
    busy = owner.be_busy.remote()
    start = time.monotonic()
    wanted = 7 + sum(range(300_000)) + 9
    here = read.options(num_cpus=1).remote(refs)
    there = read.options(resources={"other": 0.1}).remote(refs)
    assert ray.get([here, there], timeout=30) == [wanted, wanted]
    assert not ray.wait([busy], timeout=0)[0], "the owner was busy no more"
    assert time.monotonic() - start < BUSY_S
    ray.get(busy)


def test_a_task_that_holds_the_lock_holds_up_no_other(cluster: Cluster) -> None:
    @ray.remote
    def busy() -> None:
        hold_the_lock(BUSY_S)

    long = busy.remote()
    start = time.monotonic()
    assert ray.get([square.remote(i) for i in range(200)], timeout=30) == [
        i * i for i in range(200)
    ]
    assert time.monotonic() - start < BUSY_S
    ray.get(long)


def test_a_lease_whose_holder_is_busy_serves_others(cluster: Cluster) -> None:
    """Two submitters want all CPUs; one of them stops answering while it holds the leases."""

    @ray.remote(num_cpus=0)
    def submits_and_is_busy() -> float:
        refs = [square.remote(i) for i in range(50)]
        ray.get(refs)
        hold_the_lock(BUSY_S)
        return time.time()

    @ray.remote(num_cpus=0)
    def submits() -> float:
        time.sleep(0.3)  # the other one is busy by then
        assert ray.get([square.remote(i) for i in range(50)]) == [i * i for i in range(50)]
        return time.time()

    busy, quick = submits_and_is_busy.remote(), submits.remote()
    assert ray.get(quick, timeout=30) < ray.get(busy, timeout=30)


def test_a_driver_that_holds_the_lock_holds_up_no_actor(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0)
    def works() -> float:
        assert ray.get([square.remote(i) for i in range(50)]) == [i * i for i in range(50)]
        return time.time()

    ref = works.remote()
    ray.wait([ref], timeout=0.05)  # it is on its way
    hold_the_lock(BUSY_S)
    assert ray.get(ref, timeout=30) < time.time() - 0.5
