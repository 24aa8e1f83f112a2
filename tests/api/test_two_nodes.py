"""The API across two nodes: where things run, and what crosses from one to the other."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayhpc as ray
from rayhpc import exceptions
from rayhpc.api.groups.placement_group import (
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from rayhpc.api.groups.strategies import (
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)
from rayhpc.runtime.owner.entries import INLINE, STORED
from rayhpc.runtime.process import current
from rayhpc.runtime.values.serialization import FAR_BYTES
from tests.api.actors.counter import Counter, wait_for

FAR = {"resources": {"far": 0.1}}
NEAR = {"resources": {"near": 0.1}}


@ray.remote
def where() -> str:
    return ray.get_runtime_context().get_node_id()


@ray.remote
def stay(seconds: float) -> str:
    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id()


@ray.remote
def block(fill: int, size: int = 500_000) -> bytes:
    return bytes([fill]) * size


@ray.remote
def head_of(data: bytes) -> tuple[int, int]:
    return data[0], len(data)


def near_and_far() -> tuple[str, str]:
    ids = {x["Labels"]["zone"]: x["NodeID"] for x in ray.nodes() if x["Alive"]}
    return ids["near"], ids["far"]


# -- where things run ----------------------------------------------------------------------------
def test_the_cluster_is_the_sum_of_its_nodes(nodes: Any) -> None:
    assert ray.cluster_resources()["CPU"] == 4.0
    rows = [x for x in ray.nodes() if x["Alive"]]
    assert len({x["NodeManagerAddress"] for x in rows}) == len(rows) == 2


def test_tasks_spill_over_to_the_other_node(nodes: Any) -> None:
    found = ray.get([stay.remote(1.0) for _ in range(4)], timeout=30)
    assert set(found) == set(near_and_far())


def test_spread(nodes: Any) -> None:
    def nodes_used(strategy: str) -> set[str]:
        # Whoever ran here before may still hold a lease for a moment.
        wait_for(lambda: ray.available_resources().get("CPU") == 4)
        tasks = [stay.options(scheduling_strategy=strategy).remote(0.1) for _ in range(2)]
        return set(ray.get(tasks, timeout=30))

    wait_for(lambda: nodes_used("SPREAD") == set(near_and_far()))
    wait_for(lambda: nodes_used("DEFAULT") == {near_and_far()[0]})


@pytest.mark.parametrize("index", [0, 1])
def test_affinity_to_a_node(nodes: Any, index: int) -> None:
    node = near_and_far()[index]
    hard = NodeAffinitySchedulingStrategy(node, soft=False)
    tasks = [where.options(scheduling_strategy=hard).remote() for _ in range(3)]
    assert set(ray.get(tasks, timeout=30)) == {node}
    actor = Counter.options(scheduling_strategy=hard).remote()
    found = actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
    assert ray.get(found, timeout=30) == node


def test_affinity_to_a_node_that_does_not_exist(nodes: Any) -> None:
    nobody = ray.NodeID.from_random().hex()
    hard = NodeAffinitySchedulingStrategy(nobody, soft=False)
    with pytest.raises(exceptions.TaskUnschedulableError, match=nobody):
        ray.get(where.options(scheduling_strategy=hard).remote(), timeout=30)
    with pytest.raises(exceptions.ActorUnschedulableError, match=nobody):
        ray.get(Counter.options(scheduling_strategy=hard).remote().pid.remote(), timeout=30)
    soft = NodeAffinitySchedulingStrategy(nobody, soft=True)
    assert ray.get(where.options(scheduling_strategy=soft).remote(), timeout=30) in near_and_far()
    counter = Counter.options(scheduling_strategy=soft).remote()
    assert ray.get(counter.increase.remote(), timeout=30) == 1


def test_labels(nodes: Any) -> None:
    near, far = near_and_far()
    kinds: list[tuple[Any, str]] = [
        ({"label_selector": {"zone": "far"}}, far),
        ({"label_selector": {"zone": "!far"}}, near),
        ({"label_selector": {"zone": "in(near, nowhere)"}}, near),
        ({"scheduling_strategy": NodeLabelSchedulingStrategy(hard={"kind": Exists()})}, far),
        ({"scheduling_strategy": NodeLabelSchedulingStrategy(soft={"zone": In("far")})}, far),
    ]
    for options, node in kinds:
        # A wish goes elsewhere while leases of the classes before fill the node it names.
        wait_for(lambda: ray.available_resources().get("CPU") == 4)
        assert ray.get(where.options(**options).remote(), timeout=30) == node, options
        counter = Counter.options(**options).remote()
        call = counter.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
        assert ray.get(call, timeout=30) == node, options


@pytest.mark.parametrize(
    ("strategy", "bundles", "count"),
    [
        ("STRICT_SPREAD", [{"CPU": 1}, {"CPU": 1}], 2),
        ("SPREAD", [{"CPU": 1}, {"CPU": 1}], 2),
        ("STRICT_PACK", [{"CPU": 1}, {"CPU": 1}], 1),
        ("PACK", [{"CPU": 1}, {"CPU": 1}], 1),
        ("PACK", [{"CPU": 2}, {"CPU": 1}], 2),
    ],
)
def test_groups_over_nodes(nodes: Any, strategy: str, bundles: Any, count: int) -> None:
    group = placement_group(bundles, strategy=strategy)
    assert group.wait(20)
    by_bundle = placement_group_table(group)["bundles_to_node_id"]
    assert len(set(by_bundle.values())) == count
    for index, node in by_bundle.items():
        inside = PlacementGroupSchedulingStrategy(group, index)
        assert ray.get(where.options(scheduling_strategy=inside).remote(), timeout=30) == node
    remove_placement_group(group)
    wait_for(lambda: ray.available_resources().get("CPU") == 4)


def test_groups_that_cannot_be(nodes: Any) -> None:
    group = placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
    assert group.wait(0.3) is False
    remove_placement_group(group)
    labelled = placement_group([{"CPU": 1}], bundle_label_selector=[{"zone": "far"}])
    assert labelled.wait(20)
    assert placement_group_table(labelled)["bundles_to_node_id"] == {0: near_and_far()[1]}
    remove_placement_group(labelled)
    wait_for(lambda: ray.available_resources().get("CPU") == 4)


# -- what crosses --------------------------------------------------------------------------------
def test_large_objects_in_every_direction(nodes: Any) -> None:
    from_far = block.options(**FAR).remote(7)
    from_near = block.options(**NEAR).remote(8)
    put = ray.put(bytes([9]) * 500_000)
    for ref, fill in ((from_far, 7), (from_near, 8), (put, 9)):
        for options in (NEAR, FAR):
            assert ray.get(head_of.options(**options).remote(ref), timeout=30) == (fill, 500_000)
    assert ray.get(from_far, timeout=30) == bytes([7]) * 500_000


def test_references_inside_objects_from_another_node(nodes: Any) -> None:
    @ray.remote
    def make() -> list[Any]:
        return [ray.put("small"), ray.put(bytes(300_000)), where.remote()]

    small, large, task = ray.get(make.options(**FAR).remote(), timeout=30)
    assert ray.get(small, timeout=30) == "small"
    assert len(ray.get(large, timeout=30)) == 300_000
    assert ray.get(task, timeout=30) in near_and_far()


def test_wait_counts_what_has_been_brought_here(nodes: Any) -> None:
    from rayhpc.runtime.process import current

    ref = block.options(**FAR).remote(1, 3_000_000)
    assert ray.wait([ref], timeout=30, fetch_local=False)[0] == [ref]
    client = current.client()
    assert client.known(ref).node == [x for x in _numbers() if x != client.me >> 32][0]
    assert ray.wait([ref], timeout=30)[0] == [ref]
    assert len(ray.get(ref, timeout=30)) == 3_000_000


def _numbers() -> list[int]:
    from rayhpc.api.session.cluster_info import node_states
    from rayhpc.runtime.process import current

    return [x.info.number for x in node_states(current.client()) if x.alive]


def test_actors_on_the_other_node(nodes: Any) -> None:
    counter = Counter.options(name="far one", **FAR).remote(1)
    assert ray.get([counter.increase.remote() for _ in range(50)], timeout=30)[-1] == 51
    assert ray.get(ray.get_actor("far one").increase.remote(), timeout=30) == 52
    assert [ray.get(x) for x in counter.items.remote(3)] == [52, 53, 54]

    @ray.remote
    def use(handle: Any) -> int:
        found: int = ray.get(handle.increase.remote())
        return found

    calls = [use.options(**NEAR).remote(counter), use.options(**FAR).remote(counter)]
    assert sorted(ray.get(calls, timeout=30)) == [53, 54]
    pid = ray.get(counter.pid.remote(), timeout=30)
    del counter
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_errors_and_generators_from_the_other_node(nodes: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("far away")

    far = [x for x in ray.nodes() if x["NodeID"] == near_and_far()[1]][0]
    with pytest.raises(KeyError, match="far away") as caught:
        ray.get(fail.options(**FAR).remote(), timeout=30)
    assert caught.value.ip == far["NodeManagerAddress"]  # type: ignore[attr-defined]

    @ray.remote
    def blocks() -> Any:
        for i in range(3):
            yield bytes([i]) * 200_000

    found = [ray.get(x, timeout=30)[0] for x in blocks.options(**FAR).remote()]
    assert found == [0, 1, 2]


def test_cancelling_across(nodes: Any, tmp_path: Path) -> None:
    @ray.remote(max_retries=0)
    def nap(marks: str) -> None:
        Path(marks, "started").touch()
        time.sleep(30)

    @ray.remote(max_retries=0)
    def parent(marks: str) -> None:
        ray.get(nap.options(**NEAR).remote(marks))

    ref = parent.options(**FAR).remote(str(tmp_path))
    wait_for(lambda: (tmp_path / "started").exists())
    ray.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(ref, timeout=20)
    again = where.options(num_cpus=2, **NEAR)
    assert ray.get(again.remote(), timeout=20) == near_and_far()[0]


def test_environments_on_the_other_node(nodes: Any, tmp_path: Path) -> None:
    (tmp_path / "sent_far.py").write_text("VALUE = 'sent'\n")

    @ray.remote(runtime_env={"py_modules": [str(tmp_path / "sent_far.py")]}, **FAR)
    def look() -> str:
        import sent_far  # type: ignore[import-not-found]

        found: str = sent_far.VALUE
        return found

    assert ray.get(look.remote(), timeout=30) == "sent"


def test_the_timeline_has_both_nodes(nodes: Any) -> None:
    refs = [where.options(**NEAR).remote(), where.options(**FAR).remote()]
    ray.get(refs, timeout=30)
    events = {x["args"]["task_id"]: x["pid"] for x in ray.timeline() or ()}
    assert len({events[x.task_id().hex()] for x in refs}) == 2


# -- a node that goes ----------------------------------------------------------------------------
def test_what_a_lost_node_held_is_made_again(nodes: Any, tmp_path: Path) -> None:
    """Also when the second run yields another size, or another number of items."""

    @ray.remote(resources={"third": 0.1})
    def shrinking(marks: str) -> bytes:
        runs = len(os.listdir(marks))
        Path(marks, str(runs)).touch()
        return bytes(300_000) if runs == 0 else b"small"

    @ray.remote(resources={"third": 0.1})
    def varying(marks: str) -> Any:
        runs = len(os.listdir(marks))
        Path(marks, str(runs)).touch()
        for i in range(3 if runs == 0 else 5):
            yield bytes([i]) * (300_000 if runs == 0 else 200_000)

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    third = nodes.add_node(num_cpus=1, resources={"third": 1}, labels={"zone": "third"})
    one = shrinking.remote(str(tmp_path / "one"))
    items = list(varying.remote(str(tmp_path / "two")))
    assert ray.wait([one, *items], num_returns=4, timeout=30, fetch_local=False)[1] == []
    actor = Counter.options(resources={"third": 0.1}).remote()
    assert ray.get(actor.increase.remote(), timeout=30) == 1
    nodes.remove_node(third, allow_graceful=False)
    nodes.add_node(num_cpus=1, resources={"third": 1}, labels={"zone": "third"})
    assert ray.get(one, timeout=40) == b"small"
    assert [len(x) for x in ray.get(items, timeout=40)] == [200_000] * 3
    with pytest.raises(exceptions.RayActorError):
        ray.get(actor.increase.remote(), timeout=40)
    dead = [x for x in ray.nodes() if not x["Alive"]]
    assert len(dead) == 1
    assert dead[0]["DeathReasonMessage"]


@pytest.mark.parametrize("kind", ["dynamic", "streaming"])
def test_items_come_back_after_a_loss_as_far_as_they_are_made_again(
    nodes: Any, tmp_path: Path, kind: str
) -> None:
    @ray.remote(num_returns=kind, max_retries=1, resources={kind: 0.1})
    def items(first: str, gate: str) -> Any:
        run = 1 if os.path.exists(first) else 0
        Path(first).touch()
        for i in range(4):
            if run and i == 2:
                Path(gate).read_bytes()
                os._exit(1)
            yield np.full(500_000, i, np.uint8)

    third = nodes.add_node(num_cpus=1, resources={kind: 1})
    os.mkfifo(tmp_path / "gate")
    made = items.remote(str(tmp_path / "first"), str(tmp_path / "gate"))
    refs = list(ray.get(made, timeout=40) if kind == "dynamic" else made)
    assert ray.wait(refs, num_returns=4, timeout=30, fetch_local=False)[1] == []
    nodes.remove_node(third, allow_graceful=False)
    nodes.add_node(num_cpus=1, resources={kind: 1})
    assert [int(x[0]) for x in ray.get(refs[:2], timeout=40)] == [0, 1]
    (tmp_path / "gate").write_bytes(b"")
    for ref in refs[2:]:
        with pytest.raises(exceptions.WorkerCrashedError):
            ray.get(ref, timeout=40)


@ray.remote(resources={"third": 0.1})
class Maker:
    def make(self, value: int) -> Any:
        return np.full(50_000, value)

    def grow(self, array: Any) -> Any:
        return array + 1

    def nap(self, seconds: float) -> None:
        time.sleep(seconds)

    def items(self, count: int) -> Any:
        for i in range(count):
            yield np.full(50_000, i)


def test_what_actors_made_on_a_lost_node_they_make_again(nodes: Any) -> None:
    third = nodes.add_node(num_cpus=1, resources={"third": 1})
    maker = Maker.options(max_restarts=-1, max_task_retries=-1).remote()
    made = maker.make.remote(5)
    refs = [made, maker.grow.remote(made), *maker.items.remote(3)]
    assert ray.wait(refs, num_returns=5, timeout=30, fetch_local=False)[1] == []
    mortal = Maker.options(max_task_retries=-1).remote()
    lost = mortal.make.remote(5)
    assert ray.wait([lost], timeout=30, fetch_local=False)[1] == []
    # With the actor when it dies: the last one's argument must then be made before it runs.
    under_way = [maker.nap.remote(1.0), maker.grow.remote(made)]
    nodes.remove_node(third, allow_graceful=False)
    nodes.add_node(num_cpus=1, resources={"third": 1})
    late = maker.grow.remote(refs[1])
    found = ray.get([late, under_way[1], *refs], timeout=60)
    assert [int(x.sum()) // 50_000 for x in found] == [7, 6, 5, 6, 0, 1, 2]
    with pytest.raises(exceptions.ActorDiedError, match="cannot be made again"):
        ray.get(lost, timeout=40)


# -- what goes along with a task -------------------------------------------------------------------
@ray.remote
class Echo:
    def same(self, data: np.ndarray) -> np.ndarray:
        return data.copy()


def test_a_hundred_kib_go_along_with_a_call_and_its_answer_to_another_node(nodes: Any) -> None:
    core = current._client._core  # type: ignore[union-attr]
    far, near = Echo.options(**FAR).remote(), Echo.options(**NEAR).remote()
    links = core._transport.links
    for _ in range(20):
        assert ray.get(far.same.remote(np.ones(1))) == 1
    wait_for(lambda: links.count() > 0)
    middle = np.full(100 * 1024, 7, dtype=np.uint8)
    there, here = far.same.remote(middle), near.same.remote(middle)
    assert all((x == middle).all() for x in ray.get([there, here]))
    states = [core.ownership.table[x.binary()].state for x in (there, here)]
    assert states == [INLINE, STORED]
    assert current._client._objects.most_argument() == FAR_BYTES  # type: ignore[union-attr]
