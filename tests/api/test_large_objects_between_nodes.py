"""Large objects that cross nodes: they arrive as they were, also when nodes die in the middle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rayhpc as ray

FAR = {"resources": {"far": 0.1}}
MIB = 2**20


@pytest.fixture(scope="module", autouse=True)
def _no_dead_nodes_are_left(_clusters: Any) -> Iterator[None]:
    """Other tests count them: they get a new cluster."""
    yield
    _clusters.end()


def content(seed: int, size: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


@ray.remote
def make(seed: int, size: int) -> Any:
    return content(seed, size)


@ray.remote
def read(data: Any) -> str:
    return digest(data)


@pytest.mark.parametrize("size", [MIB, 3 * MIB + 1, 33 * MIB], ids=["1 MiB", "3 MiB", "33 MiB"])
def test_both_ways_they_arrive_as_they_were(nodes: Any, size: int) -> None:
    here = content(1, size)
    there = make.options(**FAR).remote(2, size)
    assert ray.get(read.options(**FAR).remote(ray.put(here)), timeout=60) == digest(here)
    assert digest(ray.get(there, timeout=60)) == digest(content(2, size))


def test_one_for_many_nodes(nodes: Any) -> None:
    more = [nodes.add_node(num_cpus=1, resources={f"node{i}": 1}) for i in range(3)]
    data = content(3, 12 * MIB)
    ref = ray.put(data)
    where: list[dict[str, Any]] = [{"resources": {f"node{i}": 0.1}} for i in range(3)]
    found = ray.get([read.options(**x).remote(ref) for x in (FAR, *where)], timeout=60)
    for node in more:
        nodes.remove_node(node)
    assert found == [digest(data)] * 4


def test_a_source_that_is_killed_in_the_middle(nodes: Any) -> None:
    third = nodes.add_node(num_cpus=1, resources={"third": 1}, object_store_memory=300 * MIB)
    made = [
        make.options(resources={"third": 0.1}, max_retries=-1).remote(i, 20 * MIB) for i in range(5)
    ]
    assert ray.wait(made, num_returns=5, timeout=60, fetch_local=False)[1] == []
    ray.wait(made, num_returns=1, timeout=60)  # the first is here, the others on their way
    nodes.remove_node(third, allow_graceful=False)
    again = nodes.add_node(num_cpus=1, resources={"third": 1}, object_store_memory=300 * MIB)
    wanted = [digest(content(i, 20 * MIB)) for i in range(5)]
    assert [digest(ray.get(ref, timeout=60)) for ref in made] == wanted
    del made
    nodes.remove_node(again)


def test_a_reader_that_is_killed_in_the_middle(nodes: Any) -> None:
    third = nodes.add_node(num_cpus=1, resources={"third": 1}, object_store_memory=300 * MIB)
    data = [content(i, 20 * MIB) for i in range(5)]
    refs = [ray.put(x) for x in data]
    found = [read.options(resources={"third": 0.2}, max_retries=-1).remote(ref) for ref in refs]
    ray.wait(found, num_returns=1, timeout=60)
    nodes.remove_node(third, allow_graceful=False)
    again = nodes.add_node(num_cpus=1, resources={"third": 1}, object_store_memory=300 * MIB)
    assert ray.get(found, timeout=60) == [digest(x) for x in data]
    nodes.remove_node(again)
