"""`get`, `put`, `wait`, `cancel`, `free`: operations on references.

Used by users and by `util`.  Arguments are checked and errors worded here; the runtime's `Client`
does the work.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from rayhpc.api.actors.actor_handle import ActorHandle
from rayhpc.api.objects import waiting_line
from rayhpc.api.objects.generators import ObjectRefGenerator
from rayhpc.api.objects.timeouts import seconds
from rayhpc.api.tasks.given import shown
from rayhpc.runtime.process import current
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.references import ObjectRef

T = TypeVar("T")

logger = logging.getLogger("rayhpc")

# Whether the warning about `get` in an event loop has been given; a program may set it to silence
# it.
blocking_get_inside_async_warned = False


@overload
def get(object_refs: Sequence[ObjectRef[Any]], *, timeout: float | None = None) -> list[Any]: ...


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...


def get(object_refs: Any, *, timeout: float | None = None) -> Any:
    """The value of a reference, or the values of a list of references.

    Large arrays are not copied and are read-only.  A generator is returned unchanged.

    Args:
        object_refs: a reference or a list of them.
        timeout: seconds; None (or -1) waits indefinitely, 0 returns at once.

    Raises:
        GetTimeoutError: not all values were ready in time.
        RayTaskError: a task failed; also an instance of the type it raised.  With a list, the first
            failure is raised as soon as it is known.
        RayError: an object is lost, its task was cancelled, or its actor or worker has died.
        ValueError: neither a reference nor a list of them.
        TypeError: the list contains something else.
    """
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs
    single = isinstance(object_refs, ObjectRef)
    refs = [object_refs] if single else _list_of_refs(object_refs)
    limit = None if timeout is None else _timeout("get", timeout)
    client = current.client()
    _warn_in_event_loop(client)
    line = waiting_line.line()
    if line is not None:
        with inside, line.waits_for(refs):
            values = client.get(refs, limit)
        return values[0] if single else values
    # `with inside`, written out: what is there is read in a microsecond.
    thread = inside.thread
    thread.depth += 1
    try:
        values = client.get(refs, limit)
    finally:
        thread.depth -= 1
        if inside.pending:
            inside.raise_if_left()
    return values[0] if single else values


def put(value: Any, *, _owner: ActorHandle[Any] | None = None) -> ObjectRef[Any]:
    """Store a value as an object, so that it can be passed on without a copy each time.

    Args:
        value: the value; not a reference.
        _owner: an actor that is to own the object, which then outlives this process.

    Raises:
        TypeError: a reference, or a value that cannot be pickled (the text names the part).
        ObjectStoreFullError: no room; the text lists what occupies it.
    """
    if isinstance(value, ObjectRef):
        raise TypeError(
            "Calling 'put' on an ObjectRef is not allowed (the value is stored already). If a "
            "reference itself is to be stored, put it in a list: put([ref])."
        )
    client = current.client()
    if _owner is not None:
        if not isinstance(_owner, ActorHandle):
            raise TypeError(f"_owner must be an actor's handle, not a {type(_owner).__name__}.")
        owned: ObjectRef[Any] = get(_owner.__ray_call__.remote(_put_there, value))
        return owned
    with inside:
        return client.put(serialization.serialize(value))


def wait(
    ray_waitables: list[Any],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[Any], list[Any]]:
    """Wait until enough references (or generators' next items) are ready.

    Args:
        ray_waitables: references and generators, each once.
        num_returns: how many are enough.
        timeout: seconds; None waits indefinitely, 0 returns at once.
        fetch_local: count an object as ready only once it is on this node.

    Returns:
        The ready ones, at most num_returns of them, and the rest, both in the order given.
        A failed object is ready; so is a generator that has ended.

    Raises:
        TypeError: not a list, or something else in it.
        ValueError: a duplicate, or num_returns or timeout out of range.
    """
    things = _waitables(ray_waitables)
    limit = seconds("timeout", timeout)
    if limit is not None and limit < 0:
        raise ValueError(
            f"The 'timeout' argument must be nonnegative. Received {timeout}; None waits for ever."
        )
    if not things:
        return [], []
    if not isinstance(num_returns, int) or isinstance(num_returns, bool):
        raise TypeError(f"num_returns must be an integer, not {shown(num_returns)}.")
    if num_returns <= 0:
        raise ValueError(
            f"Invalid number of objects to return: {shown(num_returns)}; it starts at 1."
        )
    if num_returns > len(things):
        raise ValueError(
            f"num_returns cannot be greater than the number of waitables given to wait(): "
            f"{shown(num_returns)} of {len(things)}."
        )
    client = current.client()
    line = waiting_line.line()
    if line is None:
        with inside:
            return client.wait(things, num_returns, fetch_local, limit)
    with inside, line.waits_for(things):
        return client.wait(things, num_returns, fetch_local, limit)


def cancel(ray_waitable: Any, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel the task or actor call that creates an object; a value that is ready stays.

    A running task gets KeyboardInterrupt (an async method CancelledError), a queued one never
    starts; `get` raises TaskCancelledError, also for tasks that depend on it.

    Args:
        ray_waitable: a reference or generator that the task returned.
        force: kill the worker process (tasks only).
        recursive: also cancel the tasks it has submitted.

    Raises:
        TypeError: not a reference.
        ValueError: force with an actor call.
    """
    if isinstance(ray_waitable, ObjectRefGenerator):
        ray_waitable = ray_waitable.completed()
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(
            "cancel() is only for references returned by tasks and actor calls (to end an actor "
            f"use kill()). Got: {type(ray_waitable).__name__}."
        )
    client = current.client()
    with inside:
        client.cancel(ray_waitable, force, recursive)


def free(object_refs: Any, local_only: bool = False) -> None:
    """Drop the values of objects that this process owns now, though references to them remain.

    Args:
        object_refs: a reference or a list of them; `get` then raises ObjectFreedError.
        local_only: accepted, without effect.

    Raises:
        TypeError: not references.
        ValueError: an object that another process owns.
    """
    refs = [object_refs] if isinstance(object_refs, ObjectRef) else _list_of_refs(object_refs)
    client = current.client()
    with inside:
        client.free(refs)


def _put_there(_: Any, value: Any) -> ObjectRef[Any]:
    """Runs in the actor that is to own an object."""
    return put(value)


# -- checks ----------------------------------------------------------------------------------------
def _list_of_refs(given: Any) -> list[ObjectRef[Any]]:
    if not isinstance(given, list):
        raise ValueError(
            f"Invalid type of object refs: {type(given).__name__}. Give an ObjectRef or a list of "
            "ObjectRefs."
        )
    if set(map(type, given)) <= {ObjectRef}:
        return given
    for ref in given:
        if not isinstance(ref, ObjectRef):
            raise TypeError(
                f"Attempting to call `get` on the value {_short(ref)} of type "
                f"{type(ref).__name__}, which is not an ObjectRef."
            )
    return given


def _waitables(given: Any) -> list[Any]:
    if isinstance(given, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(
            f"wait() expected a list of ObjectRefs or generators, got a single "
            f"{type(given).__name__}: write wait([ref])."
        )
    if not isinstance(given, list):
        raise TypeError(
            f"wait() expected a list of ObjectRefs or generators, got a {type(given).__name__}."
        )
    if not set(map(type, given)) <= {ObjectRef, ObjectRefGenerator}:
        for thing in given:
            if not isinstance(thing, (ObjectRef, ObjectRefGenerator)):
                raise TypeError(
                    "wait() expected a list of ObjectRefs or generators, and it contains "
                    f"{_short(thing)} ({type(thing).__name__})."
                )
    # By id: a reference's own hash is a Python call, and lists of a thousand are common here.
    once = {x._id if type(x) is ObjectRef else id(x) for x in given}
    if len(once) != len(given):
        raise ValueError("wait() requires a list of unique references; one appears twice.")
    return given


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        return "that cannot be shown"
    return text if len(text) <= 60 else text[:57] + "..."


def _timeout(what: str, timeout: float | None) -> float | None:
    if timeout is None or timeout == -1:
        return None
    limit = seconds("timeout", timeout)
    if limit is not None and limit < 0:
        raise ValueError(f"{what}(timeout={timeout}): it must be 0 or more; None waits for ever.")
    return limit


def _warn_in_event_loop(client: Client) -> None:
    """A blocking `get` in an async actor works, but stops its other calls."""
    global blocking_get_inside_async_warned
    if not client.is_worker or blocking_get_inside_async_warned:
        return
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        blocking_get_inside_async_warned = True
        logger.warning(
            "Using blocking get() inside an async actor. This blocks its event loop: write "
            "`await ref`, or `await asyncio.gather(*refs)`, so that other calls can run meanwhile."
        )
