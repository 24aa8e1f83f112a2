"""Running one task or call in a worker: its arguments, the user's code, its results or error.

Used by `worker` (tasks) and `actor` (calls).  Knows nothing of queues, leases or sockets
beyond what `process.objects` does for large values.
"""

from __future__ import annotations

import itertools
import os
import pickle
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from rayhpc.exceptions import RayTaskError, TaskCancelledError
from rayhpc.runtime.owner import failures
from rayhpc.runtime.process.interrupts import inside, outside
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values import arguments as packing
from rayhpc.runtime.values import serialization, stored
from rayhpc.runtime.values.errors import dump_error, load_error
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import TASK_ID_BYTES, ObjectId, sibling
from rayhpc.wire.messages import objects, tasks
from rayhpc.wire.messages.common import Stored

Runnable = tasks.Task | tasks.Call
# Waits until a condition holds, for arguments with these ids.
WaitForArguments = Callable[[Callable[[], bool], list[ObjectId]], bool]

NO_ARGUMENTS: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})


class ArgumentError(Exception):
    """An argument's own task has failed: `error` is that error, pickled."""

    def __init__(self, error: bytes) -> None:
        super().__init__("an argument could not be had")
        self.error = error


def arguments(
    access: Objects,
    task: Runnable,
    views: dict[ObjectId, Any] | None = None,
    wait: WaitForArguments | None = None,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments of a task, references at top level resolved.

    Args:
        access: how the process where it runs reads objects.
        task: the task or call.
        views: its arguments that are in a store, as fetched; None: they are fetched here.
        wait: waits for those that are not on this node; None: as in `get`.

    Raises:
        ArgumentError: a referenced object failed or is lost.
    """
    if not task.args and not task.deps:
        return NO_ARGUMENTS
    if task.deps and not views:
        views = fetched(access, task.deps, wait)
    # Values may be of user classes.  `with outside` is inlined: this is part of every task.
    thread = inside.thread
    thread.depth -= 1
    try:
        if inside.pending:
            inside.raise_if_left()
        values = _dependencies(task.deps, views or {}) if task.deps else []
        if task.more is not None and task.more.packed:
            packed = values.pop(0)
        else:
            packed = serialization.deserialize(task.args)
    finally:
        thread.depth += 1
    return packing.unpack(packed, values)


def fetched(
    access: Objects, deps: Sequence[tasks.Dependency], wait: WaitForArguments | None = None
) -> dict[ObjectId, Any]:
    """The arguments that are in a store, brought here (`wait`: as in `arguments`)."""
    named = access.core.store.named_in(deps)
    if not named:
        return {}
    views: dict[ObjectId, Any] = {oid: access.core.store.view(oid) for oid in named}
    far = [oid for oid, view in views.items() if view is None]
    if far:
        how = None if wait is None else lambda done, _: wait(done, far)
        views.update(access.fetch_views(far, None, how))
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
            values.append(stored.read(view))
        elif view.kind == objects.VALUE:
            values.append(serialization.from_inline(view.value))
        else:
            raise ArgumentError(_lost_error(view))
    return values


def _lost_error(failed: objects.FetchFailed) -> bytes:
    """The pickled error for what arrived instead of an object."""
    if failed.kind in (objects.ERROR, objects.VALUE):
        return failed.value
    return failures.lost(failed.kind, failed.oid, failed.text)


class PartlyFailedError(Exception):
    """A task with several results, or a generator, has failed after some of them.

    Args:
        error: what the user's code raised.
        made: the results made so far; for a generator, whose items were sent already, their number.
    """

    def __init__(self, error: Exception, made: Made) -> None:
        super().__init__("a task has failed after some of its results")
        self.error = error
        self.made = made


class Made(msgspec.Struct):
    """Results in wire form, the ids of references inside each, and these references."""

    outs: list[bytes | Stored] = []
    inners: list[list[bytes]] = []
    kept: list[ObjectRef[Any]] = []

    def add(self, access: Objects, oid: ObjectId, value: Any, attempt: int) -> None:
        """Add one more result, as object `oid`, of this attempt of its task."""
        out, refs = pack(access, oid, value, attempt)
        self.outs.append(out)
        self.inners.append([x.binary() for x in refs])
        self.kept += refs

    def result(self, task: Runnable, status: int, micros: int, retry: bool = False) -> Outcome:
        """These results as the outcome of a task."""
        inner = self.inners if self.kept else []
        made = tasks.Result(task.tid, status, self.outs, micros, inner=inner, retry=retry)
        return Outcome(made, self.kept)


class Outcome(msgspec.Struct, gc=False):
    """The outcome of a task, and the references inside its results (kept until `Adopted`)."""

    result: tasks.Result
    kept: Sequence[ObjectRef[Any]] = ()


def succeeded(access: Objects, task: Runnable, value: Any, micros: int) -> Outcome:
    """The outcome of user code that returned `value`."""
    kind = type(value)
    if task.returns == 1 and kind is not types.GeneratorType:
        if kind in serialization.ATOMS:  # as in `pack`: most results of short tasks are such
            pickled = serialization.dumps(value, 5)
            if len(pickled) <= serialization.INLINE_BYTES:
                return Outcome(tasks.Result(task.tid, tasks.OK, [pickled], micros))
        out, refs = pack(access, task.tid, value, task.attempt)
        if not refs:
            return Outcome(tasks.Result(task.tid, tasks.OK, [out], micros))
        inner = [[x.binary() for x in refs]]
        return Outcome(tasks.Result(task.tid, tasks.OK, [out], micros, inner=inner), refs)
    made = Made()
    if isinstance(value, types.GeneratorType) and task.returns:
        _add_generated(access, task, value, made)
    else:
        for i, one in enumerate([None] if task.returns == 0 else _several(task, value)):
            made.add(access, sibling(task.tid, i), one, task.attempt)
    return made.result(task, tasks.OK, micros)


def failed(
    task: Runnable, error: BaseException, name: str, ip: str, actor: str | None, micros: int
) -> Outcome:
    """The outcome of user code that raised."""
    made = Made()
    if isinstance(error, PartlyFailedError):
        made = error.made
        error = error.error
    of_argument = isinstance(error, ArgumentError)
    if isinstance(error, ArgumentError):
        given = load_error(error.error)
        if isinstance(given, RayTaskError):
            return Outcome(tasks.Result(task.tid, tasks.FAILED, [error.error], micros), [])
        # The lost object is the cause of this task's failure.
        error = given
    data = dump_error(
        error,
        function_name=name,
        pid=os.getpid(),
        ip=ip,
        actor_repr=actor,
        of_argument=of_argument,
    )
    made.outs.append(data)
    return made.result(task, tasks.FAILED, micros, _is_retried(task, error))


def cancelled(task: Runnable) -> Outcome:
    """The outcome of a task or call that was cancelled and not interrupted."""
    return Outcome(tasks.Result(task.tid, tasks.CANCELLED, [b""]))


def interrupted(
    task: Runnable, error: BaseException, name: str, ip: str, actor: str | None, micros: int
) -> Outcome:
    """The outcome of user code that `error` has interrupted, since it was cancelled.

    As in Ray it is a failure of that code: a RayTaskError as well as a TaskCancelledError.
    """
    told = TaskCancelledError(task.tid[:TASK_ID_BYTES].hex()).with_traceback(error.__traceback__)
    data = dump_error(told, function_name=name, pid=os.getpid(), ip=ip, actor_repr=actor)
    return Outcome(tasks.Result(task.tid, tasks.CANCELLED, [data], micros))


def pack(
    access: Objects, oid: ObjectId, value: Any, attempt: int
) -> tuple[bytes | Stored, Sequence[ObjectRef[Any]]]:
    """A result in wire form: its bytes, or where it was stored; and the references inside.

    Args:
        access: how the process where it was made stores objects.
        oid: its id.
        value: the result.
        attempt: the attempt of its task that made it.
    """
    most = access.most_inline(oid)
    if type(value) in serialization.ATOMS:
        pickled = serialization.dumps(value, 5)
        if len(pickled) <= most:
            return pickled, ()
    with outside:
        packed = serialization.serialize(value)
    if packed.nbytes <= most:
        return serialization.to_inline(packed), packed.refs
    return access.store(oid, packed, attempt), packed.refs


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


def _add_generated(access: Objects, task: Runnable, values: Iterator[Any], made: Made) -> None:
    """Add the first results of a generator, as many as the task has; no more are requested.

    Raises:
        PartlyFailedError: it raised, or yielded fewer.
    """
    try:
        for one in itertools.islice(iterated(values), task.returns):
            made.add(access, sibling(task.tid, len(made.outs)), one, task.attempt)
        if len(made.outs) < task.returns:
            raise ValueError(
                f"The task has num_returns={task.returns} and yielded {len(made.outs)} values: "
                "yield as many as num_returns says, or use num_returns='dynamic'."
            )
    except Exception as error:
        raise PartlyFailedError(error, made) from error
    with outside:
        values.close()  # type: ignore[attr-defined]


def iterated(items: Iterator[Any]) -> Iterator[Any]:
    """The items, each produced in user code."""
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
