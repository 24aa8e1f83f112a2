"""`dask.persist` with the results left in the cluster.

Used by `rayhpc.util.dask` (which wraps Dask's function) and by `scheduler` (which asks).  With any
other scheduler `persist` is Dask's own.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any

import dask
import dask.base

_persisting: ContextVar[bool] = ContextVar("rayhpc_dask_persist", default=False)


def is_persisting() -> bool:
    """Whether the graph being computed is to be left in the cluster."""
    return _persisting.get()


def keep_references() -> None:
    """Wrap `dask.persist` and the function that the collections' own `persist` calls."""
    original = dask.base.persist
    if getattr(original, "_rayhpc", False):
        return

    @functools.wraps(original)
    def persist(*args: Any, **kwargs: Any) -> Any:
        token = _persisting.set(True)
        try:
            return original(*args, **kwargs)
        finally:
            _persisting.reset(token)

    marked: Any = persist
    marked._rayhpc = True
    dask.persist = persist
    dask.base.persist = persist
