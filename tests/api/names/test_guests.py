"""joblib and Dask with their work on the other node."""

from __future__ import annotations

import operator
from typing import Any

import pytest

from rayhpc.util.joblib import register_ray
from tests.api.names.naming import FAR, Two, covers, here


def node_of(_: Any) -> str:
    return here()


@covers("util.joblib")
def test_joblib(two: Two) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed (extra 'guests')")
    register_ray()
    with joblib.parallel_config(backend="ray", ray_remote_args=FAR):
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(node_of)(x) for x in range(5))
        assert joblib.effective_n_jobs(-1) == 4
    assert found == [two.far] * 5


@covers("util.dask.ray_dask_get", "util.dask.enable_dask_on_ray", "util.dask.RayDaskCallback")
def test_dask(two: Two) -> None:
    dask = pytest.importorskip("dask", reason="dask is not installed (extra 'guests')")
    pytest.importorskip("dask._task_spec", reason="dask is older than 2024.12")
    from rayhpc.util.dask import RayDaskCallback, enable_dask_on_ray, ray_dask_get

    graph = {"far": (node_of, 1), "pair": (operator.add, ["near"], ["far"])}
    assert ray_dask_get(graph, "far", ray_remote_args=FAR) == two.far

    class Recorder(RayDaskCallback):
        def __init__(self) -> None:
            super().__init__()
            self.results: list[Any] = []

        def _ray_finish(self, result: Any) -> None:
            self.results.append(result)

    with enable_dask_on_ray(), Recorder() as recorder:
        with dask.annotate(ray_remote_args=FAR):
            nodes = [dask.delayed(node_of, pure=False)(x) for x in range(3)]
        found = dask.compute(*nodes, optimize_graph=False)
    assert found == (two.far,) * 3
    assert recorder.results == [(two.far,) * 3] or recorder.results == [[two.far] * 3]
