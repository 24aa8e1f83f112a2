"""The head's process is killed under a running program, and the program does not notice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from rayhpc.experimental import internal_kv
from rayhpc.util import placement_group, remove_placement_group
from tests.ends.head_process import Head, until


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    ray.shutdown()
    made = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 2})
    made.add_node(num_cpus=2)
    made.add_node(num_cpus=2)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture
def head(cluster: Cluster) -> Head:
    assert cluster.head_node is not None
    return Head(cluster.head_node.node.process.pid)


@ray.remote(num_cpus=0)
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


@ray.remote
def address() -> str:
    time.sleep(0.01)
    return ray.util.get_node_ip_address()


def drawn(seed: int) -> list[int]:
    source = random.Random(seed)
    return [source.randrange(1 << 30) for _ in range(20_000)]


@ray.remote(num_returns=4)
def split(seed: int) -> list[list[int]]:
    numbers = drawn(seed)
    return [[n for n in numbers if n % 4 == part] for part in range(4)]


@ray.remote
def merge(*parts: list[int]) -> tuple[int, int]:
    together = sorted(n for part in parts for n in part)
    return len(together), sum(together)


def test_what_was_there_is_there_and_work_goes_on(head: Head) -> None:
    counter = Counter.options(name="counter", lifetime="detached").remote()
    group = placement_group([{"CPU": 1}] * 2, strategy="STRICT_SPREAD")
    ray.get(group.ready())
    assert ray.get(counter.add.remote()) == 1
    internal_kv._internal_kv_put(b"key", b"value")
    addresses = [address.remote() for _ in range(200)]
    pieces = [split.remote(seed) for seed in range(12)]
    pid = head.kill()
    # A second time, as soon as it is there again.
    until(lambda: head.is_another_than(pid))
    head.kill()
    merged = [merge.remote(*(piece[part] for piece in pieces)) for part in range(4)]
    assert ray.get(counter.add.remote()) == 2
    again = ray.get_actor("counter")
    assert ray.get(again.add.remote()) == 3
    assert internal_kv._internal_kv_get(b"key") == b"value"
    found = ray.get(merged)
    numbers = [n for seed in range(12) for n in drawn(seed)]
    for part in range(4):
        mine = [n for n in numbers if n % 4 == part]
        assert found[part] == (len(mine), sum(mine))
    assert set(ray.get(addresses)) <= {f"127.0.0.{i}" for i in (1, 2, 3)}
    assert [x["Alive"] for x in ray.nodes()] == [True] * 3
    inside = Counter.options(placement_group=group, num_cpus=1).remote()
    assert ray.get(inside.add.remote()) == 1
    remove_placement_group(group)


def test_actors_made_from_threads_meanwhile_live_once(head: Head) -> None:
    def make(_: int) -> int:
        actor = Counter.options(max_restarts=-1, max_task_retries=-1).remote()
        count: int = ray.get(actor.add.remote())
        made.append(actor)
        return count

    made: list[ray.actor.ActorHandle] = []
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(make, range(24))
        for _ in range(2):
            pid = head.kill()
            until(lambda pid=pid: head.is_another_than(pid))
        assert list(results) == [1] * 24
    assert ray.get([x.add.remote() for x in made]) == [2] * 24


def test_nodes_that_come_meanwhile_wait_for_it(cluster: Cluster, head: Head) -> None:
    head.kill()
    cluster.add_node(num_cpus=1, resources={"late": 1})
    assert ray.get(address.options(resources={"late": 1}).remote()) == "127.0.0.4"
