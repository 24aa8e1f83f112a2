"""Each option of tasks, on the node where the driver is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayhpc as ray
from rayhpc import exceptions
from rayhpc.cluster_utils import ClusterNode
from rayhpc.util import placement_group, remove_placement_group, state
from rayhpc.util.scheduling_strategies import (
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)
from tests.api.actors.counter import wait_for
from tests.api.names.naming import (
    FAR,
    LARGE,
    NEAR,
    Gate,
    Tally,
    Two,
    covers,
    get,
    held,
    here,
    until_idle,
    where,
)


# -- resources -----------------------------------------------------------------------------------
@covers("options: num_cpus")
def test_num_cpus(two: Two) -> None:
    until_idle()
    gate = Gate.remote()
    first = held.options(num_cpus=2, **FAR).remote(gate)
    wait_for(lambda: get(gate.come.remote()) == 1)
    # Both CPUs of the far node are taken: what needs one goes to the near one, whoever asks.
    found = get([where.options(num_cpus=1).remote() for _ in range(3)])
    assert found == [two.near] * 3
    gate.open.remote()
    assert get(first) == two.far


@covers("options: memory")
def test_memory(two: Two) -> None:
    memory = [two.row(x)["Resources"]["memory"] for x in (two.near, two.far)]
    wanted = int(sum(memory) / 2)
    assert memory[0] < wanted < memory[1]
    assert get([where.options(memory=wanted).remote() for _ in range(2)]) == [two.far] * 2
    assert get(Tally.options(memory=wanted).remote().node.remote()) == two.far


@covers("options: resources")
def test_resources(two: Two) -> None:
    assert get([where.options(**x).remote() for x in (FAR, NEAR, FAR)]) == [
        two.far,
        two.near,
        two.far,
    ]


# -- results -------------------------------------------------------------------------------------
@ray.remote(**FAR)
def items(count: int) -> Any:
    """Where this runs, then large objects."""
    yield here()
    for i in range(1, count):
        yield bytes([i]) * LARGE


@covers("options: num_returns, a number")
def test_num_returns(two: Two) -> None:
    refs = items.options(num_returns=3).remote(3)
    assert [x if isinstance(x, str) else x[0] for x in get(refs)] == [two.far, 1, 2]
    assert items.options(num_returns=0).remote(0) is None


@covers("options: num_returns, dynamic")
def test_dynamic_returns(two: Two) -> None:
    found = get(items.options(num_returns="dynamic").remote(3))
    assert isinstance(found, ray.DynamicObjectRefGenerator)
    assert [x if isinstance(x, str) else x[0] for x in get(list(found))] == [two.far, 1, 2]


@covers("options: num_returns, streaming")
def test_streaming_returns(two: Two) -> None:
    found = items.options(num_returns="streaming").remote(3)
    assert isinstance(found, ray.ObjectRefGenerator)
    assert [x if isinstance(x, str) else x[0] for x in map(get, found)] == [two.far, 1, 2]


# -- trying again --------------------------------------------------------------------------------
@ray.remote(**FAR)
def nth(folder: str, good: int, error: bool) -> tuple[int, str]:
    """Fails, or crashes, until it runs for the time `good`."""
    runs = len(os.listdir(folder)) + 1
    Path(folder, str(runs)).touch()
    if runs < good and error:
        raise KeyError(runs)
    if runs < good:
        os._exit(1)
    return runs, here()


@covers("options: max_retries", "exceptions.WorkerCrashedError")
def test_max_retries(two: Two, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert get(nth.options(max_retries=1).remote(str(tmp_path / "one"), 2, False)) == (2, two.far)
    (tmp_path / "two").mkdir()
    with pytest.raises(exceptions.WorkerCrashedError):
        get(nth.options(max_retries=0).remote(str(tmp_path / "two"), 2, False))
    assert len(os.listdir(tmp_path / "two")) == 1


@covers("options: retry_exceptions")
def test_retry_exceptions(two: Two, tmp_path: Path) -> None:
    for name, retry in (("all", True), ("these", [KeyError])):
        (tmp_path / name).mkdir()
        task = nth.options(retry_exceptions=retry, max_retries=2)
        assert get(task.remote(str(tmp_path / name), 3, True)) == (3, two.far)
    (tmp_path / "others").mkdir()
    with pytest.raises(KeyError):
        get(nth.options(retry_exceptions=[ValueError]).remote(str(tmp_path / "others"), 3, True))
    assert len(os.listdir(tmp_path / "others")) == 1


@covers("options: max_calls")
def test_max_calls(two: Two) -> None:
    @ray.remote(max_calls=1, **FAR)
    def once() -> tuple[int, str]:
        return os.getpid(), here()

    found = get([once.remote() for _ in range(3)])
    assert len({pid for pid, _ in found}) == 3
    assert {node for _, node in found} == {two.far}


# -- names -----------------------------------------------------------------------------------------
@covers("options: name, of a task")
def test_the_name_of_a_task(two: Two) -> None:
    ref = where.options(name="seen from afar", **FAR).remote()
    assert get(ref) == two.far
    rows: list[Any] = []

    def listed() -> bool:
        rows[:] = state.list_tasks(filters=[("name", "=", "seen from afar")])
        return bool(rows) and rows[0].state == "FINISHED"

    wait_for(listed)
    assert [(x.task_id, x.node_id) for x in rows] == [(ref.task_id().hex(), two.far)]


# -- where it runs ---------------------------------------------------------------------------------
@covers("scheduling_strategy: DEFAULT")
def test_the_default_packs_then_spills_over(two: Two) -> None:
    until_idle()
    assert get([where.remote(), where.remote()]) == [two.near] * 2
    gate = Gate.options(**FAR).remote()
    refs = [held.remote(gate) for _ in range(4)]
    wait_for(lambda: get(gate.come.remote()) == 4)
    gate.open.remote()
    assert sorted(get(refs)) == sorted([two.near, two.far] * 2)


@covers("scheduling_strategy: SPREAD")
def test_spread(two: Two) -> None:
    until_idle()

    def a_pair() -> set[str]:
        gate = Gate.remote()
        refs = [held.options(scheduling_strategy="SPREAD").remote(gate) for _ in range(2)]
        wait_for(lambda: get(gate.come.remote()) == 2)
        gate.open.remote()
        return set(get(refs))

    # The near node may not have heard yet that the far one is free again.
    wait_for(lambda: a_pair() == two.both)
    assert [a_pair() for _ in range(5)] == [two.both] * 5
    actors = [Tally.options(scheduling_strategy="SPREAD").remote() for _ in range(4)]
    assert set(get([x.node.remote() for x in actors])) == two.both


@covers(
    "scheduling_strategy: node affinity, hard",
    "util.scheduling_strategies.NodeAffinitySchedulingStrategy",
    "exceptions.TaskUnschedulableError",
    "exceptions.ActorUnschedulableError",
)
def test_hard_affinity(two: Two) -> None:
    for node in (two.far, two.near):
        hard = NodeAffinitySchedulingStrategy(node, soft=False)
        assert (
            get([where.options(scheduling_strategy=hard).remote() for _ in range(3)]) == [node] * 3
        )
        assert get(Tally.options(scheduling_strategy=hard).remote().node.remote()) == node
    nobody = NodeAffinitySchedulingStrategy(ray.NodeID.from_random().hex(), soft=False)
    with pytest.raises(exceptions.TaskUnschedulableError, match=nobody.node_id):
        get(where.options(scheduling_strategy=nobody).remote())
    with pytest.raises(exceptions.ActorUnschedulableError, match=nobody.node_id):
        get(Tally.options(scheduling_strategy=nobody).remote().node.remote())


@covers("scheduling_strategy: node affinity, soft")
def test_soft_affinity(two: Two) -> None:
    until_idle()
    wish = NodeAffinitySchedulingStrategy(two.far, soft=True)
    assert get(where.options(scheduling_strategy=wish).remote()) == two.far
    nobody = NodeAffinitySchedulingStrategy(ray.NodeID.from_random().hex(), soft=True)
    assert get(where.options(scheduling_strategy=nobody, **FAR).remote()) == two.far


@covers(
    "scheduling_strategy: placement group",
    "util.scheduling_strategies.PlacementGroupSchedulingStrategy",
)
def test_in_a_group(two: Two) -> None:
    group = placement_group.placement_group([{"CPU": 1, "far": 0.001}])
    inside = PlacementGroupSchedulingStrategy(group)
    assert get(where.options(scheduling_strategy=inside).remote()) == two.far
    assert get(Tally.options(scheduling_strategy=inside).remote().node.remote()) == two.far
    remove_placement_group(group)


@covers(
    "scheduling_strategy: node labels",
    "util.scheduling_strategies.NodeLabelSchedulingStrategy",
    "options: label_selector",
)
@pytest.mark.parametrize(
    "options",
    [
        {"label_selector": {"zone": "far"}},
        {"label_selector": {"zone": "!near"}},
        {"scheduling_strategy": NodeLabelSchedulingStrategy(hard={"zone": In("far")})},
        {"scheduling_strategy": NodeLabelSchedulingStrategy(soft={"zone": In("far")})},
    ],
)
def test_labels(two: Two, options: dict[str, Any]) -> None:
    until_idle()
    assert get(where.options(**options).remote()) == two.far
    assert get(Tally.options(**options).remote().node.remote()) == two.far


@covers("options: label_selector")
def test_labels_that_no_node_has_yet(two: Two, third: Callable[..., ClusterNode]) -> None:
    until_idle()
    options: Any = {"label_selector": {"zone": "nowhere yet"}}
    waits = [where.options(**options).remote(), Tally.options(**options).remote().node.remote()]
    assert ray.wait(waits, num_returns=1, timeout=1)[0] == []
    node = third(labels={"zone": "nowhere yet"})
    assert get(waits) == [node.node_id] * 2


@covers("options: label_selector")
def test_the_label_that_every_node_has(two: Two) -> None:
    for node in (two.far, two.near):
        options: Any = {"label_selector": {"ray.io/node-id": node}}
        assert get(where.options(**options).remote()) == node
        assert get(Tally.options(**options).remote().node.remote()) == node


# -- what comes along ------------------------------------------------------------------------------
@covers("options: runtime_env, env_vars")
def test_variables(two: Two) -> None:
    @ray.remote(runtime_env={"env_vars": {"OF_THE_TASK": "given"}}, **FAR)
    def look() -> tuple[Any, ...]:
        child = ray.remote(lambda: (os.environ.get("OF_THE_TASK"), here()))
        return os.environ.get("OF_THE_TASK"), here(), *ray.get(child.options(**NEAR).remote())

    # A child inherits it on whichever node it runs.
    assert get(look.remote()) == ("given", two.far, "given", two.near)


@covers("options: runtime_env, working_dir", "options: runtime_env, py_modules")
def test_files(two: Two, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data.txt").write_text("brought")
    (tmp_path / "brought_far.py").write_text("VALUE = 42\n")

    @ray.remote(**FAR)
    def look() -> tuple[str, int, str, str]:
        from brought_far import VALUE  # type: ignore[import-not-found]

        return Path("data.txt").read_text(), VALUE, os.getcwd(), here()

    modules = [str(tmp_path / "brought_far.py")]
    env = {"working_dir": str(folder), "py_modules": modules}
    text, value, folder_there, node = get(look.options(runtime_env=env).remote())
    assert (text, value, node) == ("brought", 42, two.far)
    # Not the original, which another machine would not have.
    assert Path(folder_there).is_relative_to(two.session(two.far))
