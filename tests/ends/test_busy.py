"""Who holds its interpreter's lock in compiled code answers nobody, and holds nobody up."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from tests.api.actors.counter import wait_for


def hold_the_lock(fifo: str) -> None:
    """Wait in C, without letting any other thread of this process run, until released."""
    Path(f"{fifo}.held").touch()
    descriptor = ctypes.PyDLL(None).open(fifo.encode(), os.O_RDONLY)
    os.close(descriptor)


def release(fifo: str) -> None:
    """Let whoever holds the lock, or is just about to, go on."""
    os.close(os.open(fifo, os.O_WRONLY))


@contextlib.contextmanager
def held(fifo: str) -> Iterator[None]:
    """While somebody else holds the lock: from when they have taken it."""
    wait_for(Path(f"{fifo}.held").exists, 60)
    try:
        yield
    finally:
        release(fifo)


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    return path


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

    def be_busy(self, fifo: str) -> None:
        hold_the_lock(fifo)


@ray.remote
def square(x: int) -> int:
    return x * x


@ray.remote
def read(refs: list[Any]) -> int:
    small, large, computed = ray.get(refs)
    return int(small + large.sum() + computed)


def test_objects_of_a_busy_owner_are_read_on_every_node(cluster: Cluster, fifo: str) -> None:
    owner = Owner.remote()
    refs = ray.get(owner.make.remote())
    ray.get(refs[0])
    busy = owner.be_busy.remote(fifo)
    wanted = 7 + sum(range(300_000)) + 9
    with held(fifo):
        here = read.options(num_cpus=1).remote(refs)
        there = read.options(resources={"other": 0.1}).remote(refs)
        assert ray.get([here, there], timeout=60) == [wanted, wanted]
    ray.get(busy, timeout=60)


def test_a_task_that_holds_the_lock_holds_up_no_other(cluster: Cluster, fifo: str) -> None:
    long = ray.remote(hold_the_lock).remote(fifo)
    with held(fifo):
        squares = ray.get([square.remote(i) for i in range(200)], timeout=60)
    assert squares == [i * i for i in range(200)]
    ray.get(long, timeout=60)


def test_a_lease_whose_holder_is_busy_serves_others(cluster: Cluster, fifo: str) -> None:
    """Two submitters want all CPUs; one of them stops answering while it holds the leases."""

    @ray.remote(num_cpus=0)
    def submits_and_is_busy() -> None:
        refs = [square.remote(i) for i in range(50)]
        ray.get(refs)
        hold_the_lock(fifo)

    @ray.remote(num_cpus=0)
    def submits() -> list[int]:
        return ray.get([square.remote(i) for i in range(50)])

    busy = submits_and_is_busy.remote()
    with held(fifo):
        assert ray.get(submits.remote(), timeout=60) == [i * i for i in range(50)]
    ray.get(busy, timeout=60)


def test_a_driver_that_holds_the_lock_holds_up_no_actor(cluster: Cluster, fifo: str) -> None:
    """It holds it until the others have done their work: for ever, if they wait for it."""

    @ray.remote(num_cpus=0)
    def works() -> list[int]:
        squares = ray.get([square.remote(i) for i in range(50)])
        release(fifo)
        return squares

    ref = works.remote()
    ray.wait([ref], timeout=0.05)  # it is on its way
    hold_the_lock(fifo)
    assert ray.get(ref, timeout=60) == [i * i for i in range(50)]
