"""Which node work goes to: to its data, away from GPUs that it does not want."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rayhpc as ray
from rayhpc.api.groups.placement_group import placement_group, remove_placement_group
from rayhpc.cluster_utils import Cluster
from rayhpc.util.scheduling_strategies import PlacementGroupSchedulingStrategy as In


@ray.remote
def where(*_: Any) -> str:
    return ray.get_runtime_context().get_node_id()


@ray.remote
class Somewhere:
    def where(self) -> str:
        return ray.get_runtime_context().get_node_id()

    def make(self, size: int) -> list[Any]:
        return [ray.put(np.zeros(size))]


@ray.remote(resources={"far": 0.01})
def make(size: int) -> np.ndarray[Any, Any]:
    return np.zeros(size)


@ray.remote(resources={"far": 0.01}, num_returns=2)
def make_two(size: int) -> tuple[Any, Any]:
    return np.zeros(size), np.ones(size)


def far_node() -> str:
    return next(x["NodeID"] for x in ray.nodes() if x["Alive"] and "far" in x["Resources"])


def test_tasks_go_to_the_node_that_has_most_of_what_they_take(nodes: Cluster) -> None:
    far = far_node()
    large, small = make.remote(200_000), ray.put(np.zeros(20_000))
    one, two = make_two.remote(100_000)
    ray.wait([large, one, two], num_returns=3, fetch_local=False)
    assert ray.get([where.remote(large)]) == [far]
    for _ in range(5):
        assert ray.get(where.remote(large)) == far
    assert ray.get(where.remote(small, one, two)) == far
    assert ray.get(where.remote(ray.put(np.zeros(300_000)), large)) != far
    # Where the data is, is full: elsewhere at once, rather than to wait.
    found = Counter(ray.get([where.options(num_cpus=2).remote(large) for _ in range(2)]))
    assert sum(found.values()) == 2


def test_a_task_that_waits_for_its_data_goes_there_too(nodes: Cluster) -> None:
    # Workers that idle for a moment have CPUs there, but not what little these want.
    light = where.options(num_cpus=0)
    assert ray.get(light.remote(make.remote(200_000))) == far_node()
    assert ray.get(light.remote(7)) != far_node()


@pytest.fixture
def with_gpus(_clusters: Any) -> Iterator[Cluster]:
    _clusters.end()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0}, connect=True)
    made.add_node(num_cpus=4, num_gpus=2)
    made.add_node(num_cpus=4, resources={"plain": 1})
    made.wait_for_nodes()
    yield made
    made.shutdown()


def test_who_wants_no_gpu_spares_the_nodes_that_have_them(with_gpus: Cluster) -> None:
    plain = next(x["NodeID"] for x in ray.nodes() if "plain" in x["Resources"])
    assert {ray.get(where.remote()) for _ in range(10)} == {plain}
    actors = [Somewhere.options(num_cpus=1).remote() for _ in range(4)]
    assert set(ray.get([x.where.remote() for x in actors])) == {plain}
    # Now that node is full.
    assert ray.get(where.remote(), timeout=30) != plain
    fifth = Somewhere.options(num_cpus=1).remote()
    assert ray.get(fifth.where.remote(), timeout=30) != plain


BUNDLES = [{"CPU": 1, "GPU": 1}, {"CPU": 1}, {"CPU": 1}]


def fill(group: Any) -> None:
    """CPU actors, then a trainer with the GPU, none with an index."""
    free = [Somewhere.options(num_cpus=1, scheduling_strategy=In(group)).remote() for _ in range(2)]
    ray.get([x.where.remote() for x in free], timeout=30)
    trainer = Somewhere.options(num_cpus=1, num_gpus=1, scheduling_strategy=In(group)).remote()
    assert ray.get(trainer.where.remote(), timeout=30)


def test_without_an_index_bundles_with_gpus_are_spared(ray: Any) -> None:
    group = placement_group(BUNDLES)
    ray.get(group.ready(), timeout=30)
    fill(group)
    remove_placement_group(group)
    group = placement_group(BUNDLES)
    ray.get(group.ready(), timeout=30)
    cpu = where.options(scheduling_strategy=In(group))
    trainer = where.options(num_gpus=1, scheduling_strategy=In(group))
    ray.get([*(cpu.remote() for _ in range(2)), trainer.remote()], timeout=30)
    remove_placement_group(group)


def test_also_if_they_are_on_another_node(with_gpus: Cluster) -> None:
    plain = next(x["NodeID"] for x in ray.nodes() if "plain" in x["Resources"])
    group = placement_group([BUNDLES[0], BUNDLES[1]], strategy="STRICT_SPREAD")
    ray.get(group.ready(), timeout=30)
    for _ in range(3):
        assert ray.get(where.options(scheduling_strategy=In(group)).remote(), timeout=30) == plain
    actor = Somewhere.options(num_cpus=1, scheduling_strategy=In(group)).remote()
    assert ray.get(actor.where.remote(), timeout=30) == plain
    # All that is left is the bundle with the GPU.
    task = where.options(scheduling_strategy=In(group))
    assert ray.get(task.remote(), timeout=30) != plain
