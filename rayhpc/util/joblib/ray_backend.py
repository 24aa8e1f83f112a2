"""A joblib backend: `Parallel` loops of joblib and scikit-learn on the whole cluster.

Used by programs: `register_ray()` and then `with parallel_config(backend="ray")`.  Short calls are
batched by joblib's own rule; arrays that many calls share go into the object store once and are
read-only, as with joblib's own memory-mapped arrays.  All others, and all results, are writable
copies.
"""

from __future__ import annotations

import importlib
import pickle
import sys
import weakref
from collections.abc import Callable
from typing import Any

import cloudpickle
from joblib._parallel_backends import AutoBatchingMixin, ParallelBackendBase
from joblib.parallel import register_parallel_backend

import rayhpc
from rayhpc.util import substitution

# joblib's own default for `max_nbytes`, above which it maps arrays into memory.
MAX_NBYTES = 1024 * 1024


def register_ray() -> None:
    """Register `backend="ray"` with joblib."""
    register_parallel_backend("ray", RayBackend)


def register_rayhpc() -> None:
    """Register `backend="rayhpc"` with joblib (and "ray", which is the same)."""
    register_parallel_backend("rayhpc", RayBackend)
    register_ray()


class RayBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's batches as tasks.

    Args:
        nesting_level: as in joblib.
        inner_max_num_threads: threads that BLAS and OpenMP may use in a task.
        ray_remote_args: options of the tasks, as for `remote`.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        ray_remote_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **kwargs
        )
        self._options = ray_remote_args or {}
        self._shared = _Shared()
        self._under_way: dict[Any, Any] = {}
        self._remote: Any = None

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: Any = None,
        require: Any = None,
        ray_remote_args: dict[str, Any] | None = None,
        max_nbytes: int | None = MAX_NBYTES,
        mmap_mode: str | None = "r",
        **_: Any,
    ) -> int:
        """Prepare for a `Parallel` call.

        Args:
            n_jobs: as in `effective_n_jobs`.
            parallel: the `Parallel` object.
            prefer: as in joblib; likewise `require`.
            require: without effect: batches run in processes.
            ray_remote_args: options of the tasks, in addition to the backend's.
            max_nbytes: larger arrays are shared; None: no array is.
            mmap_mode: None and "c" give each call its own copy, however large.

        Returns:
            The number of batches that run at a time.
        """
        self.parallel = parallel
        is_copied = max_nbytes is None or mmap_mode in (None, "c")
        self._shared.limit = None if is_copied else max_nbytes
        remote = rayhpc.remote(_run)
        options = {**self._options, **(ray_remote_args or {})}
        self._remote = remote.options(**options) if options else remote
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many batches run at a time: n_jobs, or with -1 as many as the cluster has CPUs."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        if not rayhpc.is_initialized():
            rayhpc.init()
        cpus = int(rayhpc.cluster_resources().get("CPU", 1))
        return max(1, cpus + 1 + n_jobs)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Any:
        """Run a batch; returns its future."""
        data, refs = substitution.dumps(func, self._shared.reference)
        ref = self._remote.remote(data, self.inner_max_num_threads, *refs)
        future = ref.future()
        self._under_way[future] = ref
        future.add_done_callback(lambda done: self._under_way.pop(done, None))
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit

    def retrieve_result_callback(self, out: Any) -> Any:
        """A batch's results, or the exception it raised."""
        pickled, buffers = out.result()
        return pickle.loads(pickled, buffers=[bytearray(x) for x in buffers])

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A batch has failed: cancel the others."""
        for ref in list(self._under_way.values()):
            rayhpc.cancel(ref)
        self._under_way.clear()

    def stop_call(self) -> None:
        """A `Parallel` call is over: release what its batches shared."""
        self._shared.clear()

    def terminate(self) -> None:
        """The context has been left."""
        self._shared.clear()
        self.reset_batch_stats()

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """What `Parallel` uses inside a batch: threads, then nothing."""
        nested: tuple[Any, int | None] = super().get_nested_backend()
        return nested


class _Shared:
    """Large arrays of the current call that are in the store, by identity."""

    def __init__(self) -> None:
        self.limit: int | None = MAX_NBYTES
        self._refs: dict[int, tuple[Any, Any]] = {}

    def reference(self, part: Any) -> Any:
        """The reference that stands for `part`; None: it is small, or not an array."""
        numpy = sys.modules.get("numpy")
        if self.limit is None or numpy is None or type(part) is not numpy.ndarray:
            return None
        if part.nbytes <= self.limit:
            return None
        if part.dtype.hasobject:
            return None
        known = self._refs.get(id(part))
        if known is not None and known[0]() is part:
            return known[1]
        ref = rayhpc.put(part)
        self._refs[id(part)] = (weakref.ref(part), ref)
        return ref

    def clear(self) -> None:
        """Drop them all."""
        self._refs.clear()


def _run(data: bytes, threads: int | None, *values: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """In the worker: substitute the arrays and run the batch.

    The result is pickled here, its arrays out of band, so that the caller can give them memory of
    its own: from the object store they would come read-only.
    """
    batch = substitution.loads(data, values)
    results = batch() if threads is None else _with_threads(batch, threads)
    buffers: list[pickle.PickleBuffer] = []
    return cloudpickle.dumps(results, 5, buffer_callback=buffers.append), buffers


def _with_threads(batch: Callable[[], Any], threads: int) -> Any:
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        return batch()
    with threadpoolctl.threadpool_limits(threads):
        return batch()


__all__ = ["RayBackend", "register_ray", "register_rayhpc"]
