"""Dask on `ray.util.dask`, as programs for Ray write it."""

from __future__ import annotations

import pytest

from tests.guests.conftest import Guest

pytest.importorskip("dask", reason="dask is not installed (extra 'guests')")


def test_dask_on_ray(guest: Guest) -> None:
    output = guest(
        """
        import os
        import dask
        import dask.array as da
        import numpy as np
        import ray
        from ray.util.dask import RayDaskCallback, enable_dask_on_ray, disable_dask_on_ray
        from ray.util.dask import ray_dask_get

        ray.init(num_cpus=2, include_dashboard=False)  # the cluster has its size: said, not refused

        @dask.delayed
        def pid(x):
            return os.getpid()

        assert os.getpid() not in dask.compute(*[pid(i) for i in range(4)], scheduler=ray_dask_get)

        enable_dask_on_ray()
        array = da.from_array(np.arange(10000).reshape(100, 100), chunks=(30, 30))
        kept = (array + 1).persist()
        assert int((kept - array).sum().compute()) == 10000
        disable_dask_on_ray()

        class Count(RayDaskCallback):
            seen = 0

            def _ray_postsubmit(self, task, key, deps, object_ref):
                Count.seen += 1

        with Count():
            array.sum().compute(scheduler=ray_dask_get)
        print("tasks", Count.seen > 0)
        """
    )
    assert "tasks True" in output.splitlines()
