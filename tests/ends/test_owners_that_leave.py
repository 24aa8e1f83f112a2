"""A worker that runs nothing any more stays for as long as others hold objects that it owns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest

import rayhpc as ray
from rayhpc.cluster_utils import Cluster

FAR = {"resources": {"far": 0.01}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    ray.shutdown()
    made = Cluster(
        initialize_head=True, connect=True, head_node_args={"num_cpus": 2, "num_gpus": 1}
    )
    made.add_node(num_cpus=2, resources={"far": 1}, num_gpus=1)
    yield made
    made.shutdown()


@ray.remote
def later(seconds: float) -> int:
    time.sleep(seconds)
    return 5


@ray.remote(max_calls=1)
def puts() -> tuple[int, list[Any]]:
    return os.getpid(), [ray.put(7), ray.put(np.ones(100_000))]


@ray.remote(max_calls=1)
def submits(seconds: float) -> tuple[int, list[Any]]:
    return os.getpid(), [later.remote(seconds)]


@ray.remote(max_calls=1, num_returns="streaming")
def yields() -> Iterator[tuple[int, list[Any]]]:
    yield os.getpid(), [ray.put(7)]


def until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.02)


@pytest.mark.parametrize("where", [{}, FAR])
@pytest.mark.parametrize("gpus", [0, 1])
def test_what_it_owns_can_be_had_and_then_it_leaves(
    cluster: Cluster, where: dict[str, Any], gpus: int
) -> None:
    pid, (small, large) = ray.get(puts.options(num_gpus=gpus, **where).remote())
    second, (pending,) = ray.get(submits.options(num_gpus=gpus, **where).remote(0.3))
    third, (ended,) = ray.get(submits.options(num_gpus=gpus, **where).remote(0))
    (item,) = list(yields.options(num_gpus=gpus, **where).remote())
    fourth, (yielded,) = ray.get(item)
    assert ray.get([small, pending, ended, yielded], timeout=20) == [7, 5, 5, 7]
    assert ray.get(large, timeout=20).sum() == 100_000
    assert all(psutil.pid_exists(x) for x in (pid, second, third, fourth))
    del small, large, pending, ended, item, yielded
    until(lambda: not any(psutil.pid_exists(x) for x in (pid, second, third, fourth)))


def test_its_cpus_are_others_at_once(cluster: Cluster) -> None:
    kept = [ray.get(puts.remote()) for _ in range(8)]
    assert ray.get([later.options(num_cpus=2).remote(0.0)], timeout=20) == [5]
    assert len({pid for pid, _ in kept}) == 8


@ray.remote(num_cpus=0)
class Holder:
    def hold(self, refs: list[Any]) -> None:
        self.refs = refs

    def read(self) -> Any:
        return ray.get(self.refs)

    def pid(self) -> int:
        return os.getpid()


def test_an_actor_may_hold_them_too(cluster: Cluster) -> None:
    holder = Holder.options(**FAR).remote()
    pid, refs = ray.get(puts.remote())
    ray.get(holder.hold.remote(refs[:1]))
    del refs
    assert ray.get(holder.read.remote(), timeout=20) == [7]
    assert psutil.pid_exists(pid)
    ray.kill(holder)
    until(lambda: not psutil.pid_exists(pid))


def test_an_actor_does_not_take_an_owner_with_it(cluster: Cluster) -> None:
    owner, refs = ray.get(puts.options(max_calls=0).remote())
    actors = [Holder.remote() for _ in range(3)]
    assert owner not in ray.get([x.pid.remote() for x in actors])
    for actor in actors:
        ray.kill(actor)
    assert ray.get(refs[0], timeout=20) == 7
