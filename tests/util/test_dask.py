"""Dask's graphs as tasks of the cluster."""

from __future__ import annotations

import operator
import os
from typing import Any

import pytest

import rayhpc

dask = pytest.importorskip("dask", reason="dask is not installed (extra 'guests')")
pytest.importorskip("dask._task_spec", reason="dask is older than 2024.12")

from rayhpc.util.dask import (  # noqa: E402
    ProgressBarCallback,
    RayDaskCallback,
    disable_dask_on_ray,
    enable_dask_on_ray,
    ray_dask_get,
    ray_dask_get_sync,
)

pytestmark = pytest.mark.usefixtures("cluster")


def increment(x: int) -> int:
    return x + 1


def fail(x: int) -> int:
    raise ZeroDivisionError(x)


def test_a_graph_of_tuples_and_nested_keys() -> None:
    graph = {
        "a": 1,
        "b": (increment, "a"),
        "c": (sum, ["a", "b", 10]),
        "d": "c",
        "e": (operator.add, (increment, "b"), "d"),
        "unused": (fail, "a"),
    }
    assert ray_dask_get(graph, "e") == 16
    assert ray_dask_get(graph, ["a", ["b", "c"], "d"]) == (1, (2, 13), 13)
    assert ray_dask_get_sync(graph, ["e"]) == (16,)


def test_delayed_calls_run_in_workers() -> None:
    pids = [dask.delayed(os.getpid)() for _ in range(4)]
    total = dask.delayed(len)(pids)
    found = dask.compute(total, *pids, scheduler=ray_dask_get)
    assert found[0] == 4
    assert os.getpid() not in found


def test_arrays() -> None:
    array = pytest.importorskip("dask.array")
    numpy = pytest.importorskip("numpy")
    data = numpy.arange(10_000).reshape(100, 100)
    lazy = array.from_array(data, chunks=(25, 50))
    with enable_dask_on_ray():
        assert (lazy @ lazy.T).sum().compute() == (data @ data.T).sum()
        assert numpy.array_equal((lazy + 1)[3:40].compute(), (data + 1)[3:40])
        assert array.ones(5).mean().compute() == 1


def test_data_frames() -> None:
    frames = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    data = pandas.DataFrame({"key": [1, 2, 3, 1, 2] * 20, "value": range(100)})
    lazy = frames.from_pandas(data, npartitions=4)
    with enable_dask_on_ray():
        sums = lazy.groupby("key").value.sum().compute().sort_index()
        pandas.testing.assert_series_equal(sums, data.groupby("key").value.sum())
        shuffled = lazy.set_index("value").compute()
        assert list(shuffled.index) == list(range(100))
        merged = lazy.merge(lazy, on="key").compute()
        assert len(merged) == len(data.merge(data, on="key"))


def test_enable_and_disable() -> None:
    enable_dask_on_ray()
    try:
        assert dask.config.get("scheduler") is ray_dask_get
        assert dask.delayed(os.getpid)().compute() != os.getpid()
    finally:
        disable_dask_on_ray()
    assert dask.config.get("scheduler") is None
    assert dask.delayed(os.getpid)().compute() == os.getpid()


def test_persist_leaves_references_that_later_graphs_use() -> None:
    array = pytest.importorskip("dask.array")
    with enable_dask_on_ray():
        kept = (array.ones((4, 4), chunks=2) + 1).persist()
        values = list(dict(kept.__dask_graph__()).values())
        nodes = [getattr(x, "value", x) for x in values]
        assert all(isinstance(x, rayhpc.ObjectRef) for x in nodes)
        assert (kept * 2).sum().compute() == 64
        both, one = dask.persist(kept + 1, dask.delayed(increment)(1))
        assert both.sum().compute() == 48
        assert one.compute() == 2
    with dask.config.set(scheduler="synchronous"):
        assert dask.delayed(increment)(1).persist().compute() == 2


def test_an_error_has_its_own_type() -> None:
    with pytest.raises(ZeroDivisionError):
        dask.delayed(fail)(1).compute(scheduler=ray_dask_get)


def test_options_of_tasks_and_of_parts_of_the_graph() -> None:
    def cpus() -> float:
        return float(rayhpc.get_runtime_context().get_assigned_resources()["CPU"])

    with dask.annotate(ray_remote_args={"num_cpus": 3}):
        large = dask.delayed(cpus, pure=False)()
    small = dask.delayed(cpus, pure=False)()
    found = dask.compute(large, small, scheduler=ray_dask_get, optimize_graph=False)
    assert found == (3, 1)
    assert small.compute(scheduler=ray_dask_get, ray_remote_args={"num_cpus": 2}) == 2
    with pytest.raises(ValueError, match="ray_remote_args"):
        small.compute(scheduler=ray_dask_get, resources={"a": 1})


class Recorder(RayDaskCallback):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def _ray_presubmit(self, task: Any, key: Any, deps: Any) -> Any:
        self.seen.append(("presubmit", key))
        return 100 if key == "replaced" else None

    def _ray_postsubmit(self, task: Any, key: Any, deps: Any, object_ref: Any) -> None:
        assert isinstance(object_ref, rayhpc.ObjectRef)
        self.seen.append(("postsubmit", key, sorted(deps)))

    def _ray_postsubmit_all(self, object_refs: Any, dsk: Any) -> None:
        self.seen.append(("all", len(object_refs)))

    def _ray_finish(self, result: Any) -> None:
        self.seen.append(("finish", result))


def test_callbacks_are_told_and_may_give_results() -> None:
    graph = {"a": (increment, 1), "replaced": (fail, "a"), "c": (operator.add, "a", "replaced")}
    recorder = Recorder()
    with recorder:
        assert ray_dask_get(graph, "c") == 102
    assert ray_dask_get({"a": (increment, 1)}, "a") == 2
    assert recorder.seen == [
        ("presubmit", "a"),
        ("postsubmit", "a", []),
        ("presubmit", "replaced"),
        ("presubmit", "c"),
        ("postsubmit", "c", ["a", "replaced"]),
        ("all", 1),
        ("finish", 102),
    ]


def test_hooks_in_the_worker_get_each_others_state() -> None:
    def pretask(key: Any, object_refs: Any) -> str:
        return f"before {key}"

    def posttask(key: Any, result: Any, pre_state: Any) -> None:
        if pre_state != f"before {key}" or result != 2:
            raise AssertionError((key, result, pre_state))

    with RayDaskCallback(ray_pretask=pretask, ray_posttask=posttask):
        assert ray_dask_get({"a": (increment, 1)}, "a") == 2
        with pytest.raises(AssertionError):
            ray_dask_get({"a": (increment, 2)}, "a")


def test_progress_is_recorded_and_dasks_own_bar_moves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from dask.diagnostics import ProgressBar

    total = dask.delayed(sum)([dask.delayed(increment)(x) for x in range(5)])
    with ProgressBarCallback() as callback:
        assert total.compute(scheduler=ray_dask_get, optimize_graph=False) == 15
        assert rayhpc.get(callback.pb.result.remote())[0] == 6
    assert "All tasks are completed." in capsys.readouterr().out
    with ProgressBar():
        assert total.compute(scheduler=ray_dask_get) == 15
    assert "100% Completed" in capsys.readouterr().out
