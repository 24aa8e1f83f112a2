"""Running one task or call in a worker: its arguments, the user's code, its results or error.

Used by `worker` (tasks) and `actor` (calls).  Knows nothing of queues, leases or sockets
beyond what `getting` does for large values.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rayhpc.exceptions import RayTaskError
from rayhpc.runtime.process.interrupts import outside
from rayhpc.runtime.values import getting, serialization
from rayhpc.runtime.values.errors import dump_error
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import ObjectId, sibling
from rayhpc.wire.messages import objects, tasks
from rayhpc.wire.messages.common import Stored

if TYPE_CHECKING:
    from rayhpc.runtime.process.process import Process

Runnable = tasks.Task | tasks.Call
_NOTHING: dict[str, Any] = {}


class ArgumentError(Exception):
    """An argument's own task has failed: `error` is that error, pickled."""

    def __init__(self, error: bytes) -> None:
        super().__init__("an argument could not be had")
        self.error = error


def arguments(
    process: Process, task: Runnable, views: dict[ObjectId, Any] | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments of a task, references at top level resolved.

    Args:
        process: where it runs.
        task: the task or call.
        views: what came of its arguments that lie in a store; None: they are fetched here.

    Raises:
        ArgumentError: a referenced object failed or is lost.
    """
    if not task.args and not task.deps:
        return (), _NOTHING
    if task.deps and not views:
        views = _fetched(process, task.deps)
    with outside:  # values may be of classes of the user's
        values = _dependencies(task.deps, views or {})
        if task.more is not None and task.more.packed:
            packed = values.pop(0)
        else:
            packed = serialization.deserialize(task.args)
    if type(packed) is tuple:
        return packed, _NOTHING
    args, kwargs, places = packed
    for place, value in zip(places, values, strict=True):
        if type(place) is int:
            args[place] = value
        else:
            kwargs[place] = value
    return tuple(args), kwargs


def pack_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, list[ObjectRef[Any]]]:
    """What `arguments` undoes: the object to pickle, and the references at top level."""
    deps: list[ObjectRef[Any]] = [x for x in args if isinstance(x, ObjectRef)]
    deps += [x for x in kwargs.values() if isinstance(x, ObjectRef)]
    if not deps and not kwargs:
        return args, deps
    places: list[int | str] = [i for i, x in enumerate(args) if isinstance(x, ObjectRef)]
    places += [k for k, x in kwargs.items() if isinstance(x, ObjectRef)]
    plain = [None if isinstance(x, ObjectRef) else x for x in args]
    named = {k: None if isinstance(x, ObjectRef) else x for k, x in kwargs.items()}
    return [plain, named, places], deps


def _fetched(process: Process, deps: Sequence[tasks.Dependency]) -> dict[ObjectId, Any]:
    """What lies in a store, brought here."""
    views: dict[ObjectId, Any] = {}
    for dep in deps:
        if dep.value is None:
            views[dep.oid] = process.store.view(dep.oid)
    far = [oid for oid, view in views.items() if view is None]
    if far:
        views.update(getting.fetch_views(process, far, None))
    return views


def _dependencies(deps: Sequence[tasks.Dependency], views: Mapping[ObjectId, Any]) -> list[Any]:
    values = []
    for dep in deps:
        if dep.value is not None:
            if dep.error:
                raise ArgumentError(dep.value)
            values.append(serialization.from_inline(dep.value))
            continue
        view = views[dep.oid]
        if not isinstance(view, objects.FetchFailed):
            values.append(getting.read_value(view))
        elif view.kind == objects.VALUE:
            values.append(serialization.from_inline(view.value))
        else:
            raise ArgumentError(getting.lost_error(view))
    return values


class Outcome(msgspec.Struct, gc=False):
    """What a task came to, and the references inside its results (kept until `Adopted`)."""

    result: tasks.Result
    kept: Sequence[ObjectRef[Any]] = ()


def succeeded(process: Process, task: Runnable, value: Any, micros: int) -> Outcome:
    """The outcome of user code that returned `value`."""
    if task.returns == 1:
        out, refs = pack(process, task.tid, value)
        if not refs:
            return Outcome(tasks.Result(task.tid, tasks.OK, [out], micros))
        inner = [[x.binary() for x in refs]]
        return Outcome(tasks.Result(task.tid, tasks.OK, [out], micros, inner=inner), refs)
    if task.returns == tasks.DYNAMIC:
        return _dynamic(process, task, value, micros)
    values = [None] if task.returns == 0 else _several(task, value)
    outs, inners = [], []
    kept: list[ObjectRef[Any]] = []
    for i, one in enumerate(values):
        out, refs = pack(process, sibling(task.tid, i), one)
        outs.append(out)
        inners.append([x.binary() for x in refs])
        kept += refs
    inner = inners if kept else []
    return Outcome(tasks.Result(task.tid, tasks.OK, outs, micros, inner=inner), kept)


def failed(
    task: Runnable, error: BaseException, name: str, ip: str, actor: str | None, micros: int
) -> Outcome:
    """The outcome of user code that raised."""
    if isinstance(error, ArgumentError):
        return Outcome(tasks.Result(task.tid, tasks.FAILED, [error.error], micros), [])
    data = dump_error(error, function_name=name, pid=os.getpid(), ip=ip, actor_repr=actor)
    retry = _is_retried(task, error)
    return Outcome(tasks.Result(task.tid, tasks.FAILED, [data], micros, retry=retry), [])


def cancelled(task: Runnable, micros: int = 0) -> Outcome:
    """The outcome of a task or call that was cancelled."""
    return Outcome(tasks.Result(task.tid, tasks.CANCELLED, [b""], micros))


def pack(
    process: Process, oid: ObjectId, value: Any
) -> tuple[bytes | Stored, Sequence[ObjectRef[Any]]]:
    """A result as it travels: its bytes, or where it was stored; and the references inside."""
    if type(value) in serialization.ATOMS:
        pickled = serialization.dumps(value, 5)
        if len(pickled) <= getting.INLINE_BYTES:
            return pickled, ()
    with outside:
        packed = serialization.serialize(value)
    if packed.nbytes <= getting.INLINE_BYTES:
        return serialization.to_inline(packed), packed.refs
    return getting.store_value(process, oid, packed), packed.refs


def _several(task: Runnable, value: Any) -> list[Any]:
    try:
        with outside:
            values = list(value)
    except TypeError:
        raise TypeError(
            f"The task has num_returns={task.returns} and returned a {type(value).__name__}, which "
            "cannot be iterated: return a tuple or list of that length."
        ) from None
    if len(values) != task.returns:
        raise ValueError(
            f"The task has num_returns={task.returns} and returned {len(values)} values: return as "
            "many as num_returns says, or use num_returns='dynamic'."
        )
    return values


def _dynamic(process: Process, task: Runnable, value: Any, micros: int) -> Outcome:
    from rayhpc.runtime.owner.streams import DynamicObjectRefGenerator

    with outside:
        value = iter(value)
    outs: list[bytes | Stored] = [b""]
    inners: list[list[bytes]] = [[]]
    kept: list[ObjectRef[Any]] = []
    refs: list[ObjectRef[Any]] = []
    for i, one in enumerate(iterated(value)):
        oid = sibling(task.tid, i + 1)
        out, found = pack(process, oid, one)
        outs.append(out)
        inners.append([x.binary() for x in found])
        kept += found
        refs.append(ObjectRef(oid, True))
    packed = serialization.serialize(DynamicObjectRefGenerator(refs))
    outs[0] = serialization.to_inline(packed)
    return Outcome(tasks.Result(task.tid, tasks.OK, outs, micros, inner=inners), kept)


def iterated(items: Iterator[Any]) -> Iterator[Any]:
    """The items, each made in the user's code."""
    while True:
        with outside:
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
        del item


def _is_retried(task: Runnable, error: BaseException) -> bool:
    retry_on = task.more.retry_on if task.more is not None else b""
    if not retry_on:
        return False
    if retry_on == b"*":
        return isinstance(error, Exception)
    kinds = tuple(pickle.loads(retry_on))
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(error, kinds) or isinstance(cause, kinds)
