"""`ray_dask_get`: a Dask scheduler that runs each task of a graph as a task of the cluster.

Used by Dask.  Tasks are submitted in Dask's own order, with references to what they need; only
requested results come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dask
import dask.config
from dask._task_spec import Alias, DataNode, Task, convert_legacy_graph
from dask.callbacks import local_callbacks, unpack_callbacks
from dask.order import order

import rayhpc
from rayhpc.util import substitution
from rayhpc.util.dask.callbacks import RayCallbacks, local_ray_callbacks, unpack_ray_callbacks
from rayhpc.util.dask.persisting import is_persisting


def enable_dask_on_ray(shuffle: str | None = "tasks", use_shuffle_optimization: bool = True) -> Any:
    """Make this Dask's scheduler, permanently or inside a `with`.

    Args:
        shuffle: how data frames are shuffled; "disk" needs a file system that all nodes share.
        use_shuffle_optimization: ignored: Dask optimises its data frames itself.
    """
    return dask.config.set({"scheduler": ray_dask_get, "dataframe.shuffle.method": shuffle})


def disable_dask_on_ray() -> Any:
    """Undo `enable_dask_on_ray`."""
    return dask.config.set({"scheduler": None, "dataframe.shuffle.method": None})


def dataframe_optimize(dsk: Any, keys: Any, **_: Any) -> Any:
    """The graph unchanged: Dask optimises its data frames itself; kept because Ray has it."""
    return dsk


def ray_dask_get(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """Compute `keys` of a graph.

    Args:
        dsk: the graph.
        keys: keys, or nested lists of them.
        kwargs: `ray_remote_args` (options of the tasks), `ray_callbacks`, `ray_persist` (return
            references instead of values); other arguments from Dask are ignored.

    Raises:
        ValueError: `resources` was given on its own.
        RayError: a task failed; also an instance of what it raised.
    """
    return _Run(dsk, kwargs, in_step=False).get(keys)


def ray_dask_get_sync(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """`ray_dask_get`, one task after another, for debugging."""
    return _Run(dsk, kwargs, in_step=True).get(keys)


class _Run:
    """One computation of a graph."""

    def __init__(self, dsk: Any, kwargs: dict[str, Any], in_step: bool) -> None:
        if "resources" in kwargs or "resources" in dask.get_annotations():
            raise ValueError(
                'Use ray_remote_args={"resources": {...}} instead of resources={...} to say what '
                "the tasks need."
            )
        self._in_step = in_step
        self._persist = bool(kwargs.get("ray_persist", is_persisting()))
        self._callbacks = kwargs.get("ray_callbacks")
        options = {**dask.get_annotations().get("ray_remote_args", {})}
        self._options = {**options, **(kwargs.get("ray_remote_args") or {})}
        self._by_key = _options_by_key(dsk)
        self._remotes: dict[str, Any] = {}
        self._graph = convert_legacy_graph(_mapping(dsk))
        self._results: dict[Any, Any] = {}

    def get(self, keys: Any) -> Any:
        """Submit what is needed, and wait for what was requested."""
        wanted = set(_flat(keys))
        with local_ray_callbacks(self._callbacks) as active, local_callbacks() as own:
            hooks = unpack_ray_callbacks(active)
            watch = _Watch(own, self._graph)
            try:
                outputs = self._submit_all(wanted, hooks, watch)
                for hook in hooks.ray_postsubmit_all_cbs:
                    hook([outputs[key] for key in _flat(keys)], self._graph)
                # What is no longer needed can be freed while the rest is computed.
                self._graph = {}
                watch.wait()
                values = outputs if self._persist else _fetched(outputs)
            except BaseException:
                watch.finish(failed=True)
                raise
            watch.finish(failed=False)
            result = _nested(keys, values)
            for hook in hooks.ray_finish_cbs:
                hook(result)
        return result

    def _submit_all(self, wanted: set[Any], hooks: RayCallbacks, watch: _Watch) -> dict[Any, Any]:
        needs = _needed(self._graph, wanted)
        watch.begin(key for key in needs if isinstance(self._graph[key], Task))
        ranks = order({key: self._graph[key] for key in needs}, needs)
        users = dict.fromkeys(needs, 0)
        for deps in needs.values():
            for dep in deps:
                users[dep] += 1
        results = self._results
        for key in sorted(needs, key=ranks.__getitem__):
            results[key] = self._start(key, hooks, watch)
            for dep in needs[key]:
                users[dep] -= 1
                if not users[dep] and dep not in wanted:
                    del results[dep]
        return {key: results[key] for key in wanted}

    def _start(self, key: Any, hooks: RayCallbacks, watch: _Watch) -> Any:
        """The reference to a node's value (or what a hook returned instead)."""
        node = self._graph[key]
        if isinstance(node, Alias):
            return self._results[node.target]
        if isinstance(node, DataNode):
            value = node.value
            return value if isinstance(value, rayhpc.ObjectRef) else rayhpc.put(value)
        deps = {dep: self._results[dep] for dep in node.dependencies}
        for hook in hooks.ray_presubmit_cbs:
            value = hook(node, key, deps)
            if value is not None:
                return value
        watch.starts(key)
        data, inner = substitution.dumps(node, _as_reference)
        in_worker = (hooks.ray_pretask_cbs, hooks.ray_posttask_cbs)
        ref = self._remote(key).remote(key, data, list(deps), in_worker, *deps.values(), *inner)
        watch.started(key, ref)
        for hook in hooks.ray_postsubmit_cbs:
            hook(node, key, deps, ref)
        if self._in_step:
            rayhpc.wait([ref])
        return ref

    def _remote(self, key: Any) -> Any:
        """The remote function with this key's options."""
        options = {**self._by_key.get(key, {}), **self._options}
        found = self._remotes.get(repr(options))
        if found is None:
            found = rayhpc.remote(_execute)
            found = found.options(**options) if options else found
            self._remotes[repr(options)] = found
        return found


class _Watch:
    """Serves Dask's own callbacks (its progress bar, its profilers); idle if there are none."""

    def __init__(self, callbacks: Any, graph: Mapping[Any, Any]) -> None:
        hooks = unpack_callbacks(callbacks or ())
        self._start, self._start_state, self._pre, self._post, self._finish = hooks
        self._active = bool(callbacks)
        self._graph = graph
        self._refs: dict[Any, Any] = {}
        self._state: dict[str, Any] = {
            "waiting": {},
            "ready": [],
            "running": set(),
            "finished": set(),
            "cache": {},
        }

    def begin(self, tasks: Iterable[Any]) -> None:
        """These tasks are going to run."""
        for hook in self._start or ():
            hook(self._graph)
        self._state["waiting"] = {key: set() for key in tasks}
        for hook in self._start_state or ():
            hook(self._graph, self._state)

    def starts(self, key: Any) -> None:
        """A task is about to be submitted."""
        if self._active:
            self._state["waiting"].pop(key, None)
            self._state["running"].add(key)
            for hook in self._pre or ():
                hook(key, self._graph, self._state)

    def started(self, key: Any, ref: Any) -> None:
        """A task has been submitted."""
        if self._active:
            self._refs[ref] = key

    def wait(self) -> None:
        """Report each task's end as it comes."""
        left = list(self._refs)
        while left:
            ready, left = rayhpc.wait(left, num_returns=1, fetch_local=False)
            for ref in ready:
                key = self._refs.pop(ref)
                self._state["running"].discard(key)
                self._state["finished"].add(key)
                for hook in self._post or ():
                    hook(key, ref, self._graph, self._state, "rayhpc")

    def finish(self, failed: bool) -> None:
        """The computation is over."""
        for hook in self._finish or ():
            hook(self._graph, self._state, failed)


def _execute(key: Any, data: bytes, keys: list[Any], hooks: Any, *values: Any) -> Any:
    """In the worker: substitute the references inside the node, and run it."""
    node = substitution.loads(data, values[len(keys) :])
    before, after = hooks
    states = [hook(key, list(values)) if hook else None for hook in before]
    result = node(dict(zip(keys, values, strict=False)))
    for hook, state in zip(after, states, strict=True):
        if hook:
            hook(key, result, state)
    return result


def _as_reference(part: Any) -> Any:
    return part if isinstance(part, rayhpc.ObjectRef) else None


def _mapping(dsk: Any) -> Mapping[Any, Any]:
    if not isinstance(dsk, Mapping):
        optimized = getattr(dsk, "_optimized_dsk", None)
        dsk = dsk.__dask_graph__() if optimized is None else optimized
    return dict(dsk)


def _options_by_key(dsk: Any) -> dict[Any, dict[str, Any]]:
    """The options from `dask.annotate(ray_remote_args=…)` on parts of the graph."""
    annotations = getattr(dsk, "__dask_annotations__", None)
    if callable(annotations):
        return dict(annotations().get("ray_remote_args", {}))
    found = {}
    for layer in getattr(dsk, "layers", {}).values():
        options = (layer.annotations or {}).get("ray_remote_args")
        if options:
            found.update(dict.fromkeys(layer.get_output_keys(), options))
    return found


def _needed(graph: Mapping[Any, Any], wanted: Iterable[Any]) -> dict[Any, set[Any]]:
    """The nodes that the requested ones need, each with its dependencies."""
    needs: dict[Any, set[Any]] = {}
    left = list(wanted)
    while left:
        key = left.pop()
        if key not in needs:
            needs[key] = set(graph[key].dependencies)
            left.extend(needs[key])
    return needs


def _fetched(outputs: dict[Any, Any]) -> dict[Any, Any]:
    refs = [key for key, value in outputs.items() if isinstance(value, rayhpc.ObjectRef)]
    values = rayhpc.get([outputs[key] for key in refs])
    return {**outputs, **dict(zip(refs, values, strict=True))}


def _flat(keys: Any) -> Iterable[Any]:
    if isinstance(keys, list):
        for key in keys:
            yield from _flat(key)
    else:
        yield keys


def _nested(keys: Any, values: dict[Any, Any]) -> Any:
    if isinstance(keys, list):
        return tuple(_nested(key, values) for key in keys)
    return values[keys]
