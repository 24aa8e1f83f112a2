"""`RayDaskCallback`: hooks into the scheduling and running of a Dask graph.

Used by programs; `scheduler` calls the hooks.  The names and signatures are Ray's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from dask.callbacks import Callback

import rayhpc


class RayCallback(NamedTuple):
    """The hooks of one callback object; None: not defined."""

    ray_presubmit: Any = None
    ray_postsubmit: Any = None
    ray_pretask: Any = None
    ray_posttask: Any = None
    ray_postsubmit_all: Any = None
    ray_finish: Any = None


class RayCallbacks(NamedTuple):
    """The hooks of all active callback objects, by kind."""

    ray_presubmit_cbs: list[Any]
    ray_postsubmit_cbs: list[Any]
    ray_pretask_cbs: list[Any]
    ray_posttask_cbs: list[Any]
    ray_postsubmit_all_cbs: list[Any]
    ray_finish_cbs: list[Any]


class RayDaskCallback(Callback):  # type: ignore[misc]
    """Hooks passed as arguments or overridden; active inside `with`, or once registered.

    Besides Dask's own hooks: `_ray_presubmit(task, key, deps)`, whose result, if not None, replaces
    the task's; `_ray_postsubmit(task, key, deps, object_ref)`; in the worker
    `_ray_pretask(key, object_refs)` and `_ray_posttask(key, result, pre_state)`;
    `_ray_postsubmit_all(object_refs, dsk)`; `_ray_finish(result)`.
    """

    ray_active: set[RayCallback] = set()

    def __init__(self, **kwargs: Any) -> None:
        for name in RayCallback._fields:
            hook = kwargs.pop(name, None)
            if hook is not None:
                setattr(self, f"_{name}", hook)
        super().__init__(**kwargs)

    @property
    def _ray_callback(self) -> RayCallback:
        hooks = {name: getattr(self, f"_{name}", None) for name in RayCallback._fields}
        return RayCallback(**hooks)

    def __enter__(self) -> RayDaskCallback:
        self._entered = self._ray_callback
        RayDaskCallback.ray_active.add(self._entered)
        super().__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        super().__exit__(*args)
        RayDaskCallback.ray_active.discard(self._entered)

    def register(self) -> None:
        """Activate it from now on."""
        RayDaskCallback.ray_active.add(self._ray_callback)
        super().register()

    def unregister(self) -> None:
        """Deactivate it."""
        RayDaskCallback.ray_active.discard(self._ray_callback)
        super().unregister()


def unpack_ray_callbacks(callbacks: Iterable[Any] | None) -> RayCallbacks:
    """The hooks of these callback objects, by kind.

    A task's two hooks stay paired: if only one is given, the other is None.
    """
    rows = [_normalized(x) for x in callbacks or ()]
    in_worker = [x for x in rows if x.ray_pretask or x.ray_posttask]
    return RayCallbacks(
        [x.ray_presubmit for x in rows if x.ray_presubmit],
        [x.ray_postsubmit for x in rows if x.ray_postsubmit],
        [x.ray_pretask for x in in_worker],
        [x.ray_posttask for x in in_worker],
        [x.ray_postsubmit_all for x in rows if x.ray_postsubmit_all],
        [x.ray_finish for x in rows if x.ray_finish],
    )


@contextlib.contextmanager
def local_ray_callbacks(callbacks: Iterable[Any] | None = None) -> Iterator[Iterable[Any]]:
    """The callbacks in effect: those given, or the active ones, which are then paused inside."""
    if callbacks is not None:
        yield callbacks
        return
    active, RayDaskCallback.ray_active = RayDaskCallback.ray_active, set()
    try:
        yield active
    finally:
        RayDaskCallback.ray_active = active


class ProgressBarCallback(RayDaskCallback):
    """Records when each task was submitted, started and finished, in a named actor."""

    NAME = "_dask_on_ray_pb"

    def __init__(self) -> None:
        super().__init__()
        actor_class = rayhpc.remote(_Progress)
        self.pb = actor_class.options(name=self.NAME, num_cpus=0, get_if_exists=True).remote()
        rayhpc.get(self.pb.reset.remote())

    def _ray_postsubmit(self, task: Any, key: Any, deps: Any, object_ref: Any) -> None:
        self.pb.submit.remote(key, list(deps), datetime.now())

    def _ray_pretask(self, key: Any, object_refs: Any) -> None:
        self.pb.task_scheduled.remote(key, datetime.now())

    def _ray_posttask(self, key: Any, result: Any, pre_state: Any) -> None:
        self.pb.finish.remote(key, datetime.now())

    def _ray_finish(self, result: Any) -> None:
        print("All tasks are completed.")


class _Progress:
    """The actor."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._submitted: dict[Any, datetime] = {}
        self._scheduled: dict[Any, datetime] = {}
        self._finished: dict[Any, datetime] = {}

    def submit(self, key: Any, deps: list[Any], now: datetime) -> None:
        self._submitted[key] = now

    def task_scheduled(self, key: Any, now: datetime) -> None:
        self._scheduled[key] = now

    def finish(self, key: Any, now: datetime) -> None:
        self._finished[key] = now

    def result(self) -> tuple[int, int]:
        return len(self._submitted), len(self._finished)

    def report(self) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, finished in self._finished.items():
            scheduled = self._scheduled.get(key, finished)
            found[key] = {
                "execution_time": (finished - scheduled).total_seconds(),
                "scheduling_time": (scheduled - self._submitted[key]).total_seconds(),
            }
        found["submission_order"] = list(self._submitted.items())
        return found


def _normalized(callback: Any) -> RayCallback:
    if isinstance(callback, RayDaskCallback):
        return callback._ray_callback
    if isinstance(callback, RayCallback):
        return callback
    raise TypeError(
        f"ray_callbacks are RayDaskCallback or RayCallback objects, not {type(callback).__name__}."
    )
