"""Dask on rayhpc: Dask's collections computed by the cluster's tasks.

Used by programs: `enable_dask_on_ray()` once, or `compute(scheduler=ray_dask_get)`.  Importing it
makes `persist` keep results in the cluster, as references, when this scheduler is used.
"""

from __future__ import annotations

from rayhpc.util.dask.callbacks import (
    ProgressBarCallback,
    RayDaskCallback,
    local_ray_callbacks,
    unpack_ray_callbacks,
)
from rayhpc.util.dask.persisting import keep_references
from rayhpc.util.dask.scheduler import (
    dataframe_optimize,
    disable_dask_on_ray,
    enable_dask_on_ray,
    ray_dask_get,
    ray_dask_get_sync,
)

keep_references()

__all__ = [
    "ProgressBarCallback",
    "RayDaskCallback",
    "dataframe_optimize",
    "disable_dask_on_ray",
    "enable_dask_on_ray",
    "local_ray_callbacks",
    "ray_dask_get",
    "ray_dask_get_sync",
    "unpack_ray_callbacks",
]
