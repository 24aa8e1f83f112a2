"""`get`, `put`, `wait`, `cancel`, `free`: what users do with references.

Used by users, and by `util`.  Here are the checks of what is given and the words of the errors;
the work is done by the runtime's `Client`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from rayhpc.api.actors.actor_handle import ActorHandle
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

# Whether the warning about `get` in an event loop was given; programs may set it to be spared.
blocking_get_inside_async_warned = False


@overload
def get(object_refs: Sequence[ObjectRef[Any]], *, timeout: float | None = None) -> list[Any]: ...


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...


def get(object_refs: Any, *, timeout: float | None = None) -> Any:
    """The value of a reference, or of each of a list.

    Large arrays come without copying and are read-only.  A generator is returned as it is.

    Args:
        object_refs: a reference or a list of them.
        timeout: seconds; None (or -1) waits for ever, 0 only looks.

    Raises:
        GetTimeoutError: not all were there in time.
        RayTaskError: a task failed; also an instance of what it raised.  With a list, the first
            failure is raised as soon as it is known.
        RayError: an object is lost, its task was cancelled, its actor or worker has died.
        ValueError: neither a reference nor a list of them.
        TypeError: a list with something else in it.
    """
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs
    single = isinstance(object_refs, ObjectRef)
    refs = [object_refs] if single else _list_of_refs(object_refs)
    limit = _timeout("get", timeout)
    client = current.client()
    _warn_in_event_loop(client)
    with inside:
        values = client.get(refs, limit)
    return values[0] if single else values


def put(value: Any, *, _owner: ActorHandle[Any] | None = None) -> ObjectRef[Any]:
    """Make an object of a value, so that it can be passed on without being copied each time.

    Args:
        value: what to store; not a reference.
        _owner: an actor that is to own the object, which then outlives this process.

    Raises:
        TypeError: a reference, or what cannot be pickled (the text names the part of it).
        ObjectStoreFullError: no room; the text lists what holds it.
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
    """Wait until some of many references (or generators' next items) are there.

    Args:
        ray_waitables: references and generators, each once.
        num_returns: how many are enough.
        timeout: seconds; None waits for ever, 0 only looks.
        fetch_local: count an object only when it lies on this node.

    Returns:
        Those that are there, at most num_returns of them, and the rest, both in the order given.
        A failed object is there; so is a generator that has ended.

    Raises:
        TypeError: not a list, or something else in it.
        ValueError: one of them twice, or num_returns or timeout out of bounds.
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
    with inside:
        return client.wait(things, num_returns, fetch_local, limit)


def cancel(ray_waitable: Any, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel the task or actor call that makes an object; what is there already stays.

    A task that runs gets KeyboardInterrupt (an async method CancelledError), one that waits never
    starts; `get` raises TaskCancelledError, and so do tasks that depend on it.

    Args:
        ray_waitable: a reference or generator that the task returned.
        force: end the worker's process (tasks only).
        recursive: also what the task has submitted.

    Raises:
        TypeError: not a reference.
        ValueError: force with an actor's call.
    """
    if isinstance(ray_waitable, ObjectRefGenerator):
        ray_waitable = ray_waitable.completed()
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(
            "cancel() is only for references to what tasks and actor calls return (for actors "
            f"there is kill()). Got: {type(ray_waitable).__name__}."
        )
    client = current.client()
    with inside:
        client.cancel(ray_waitable, force, recursive)


def free(object_refs: Any, local_only: bool = False) -> None:
    """Drop the values of objects of this process now, though references to them remain.

    Args:
        object_refs: a reference or a list of them; `get` of one then raises ObjectFreedError.
        local_only: taken, without effect.

    Raises:
        TypeError: something else than references.
        ValueError: an object that another process owns.
    """
    refs = [object_refs] if isinstance(object_refs, ObjectRef) else _list_of_refs(object_refs)
    client = current.client()
    with inside:
        client.free(refs)


def _put_there(_: Any, value: Any) -> ObjectRef[Any]:
    """In the actor that is to own an object."""
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
    # By id: a reference's own hash is a call in Python, and lists of a thousand are common here.
    once = {x._id if type(x) is ObjectRef else id(x) for x in given}
    if len(once) != len(given):
        raise ValueError("wait() requires a list of unique references; one is in it twice.")
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
    """A `get` that blocks the event loop of an asynchronous actor works, and stops all others."""
    global blocking_get_inside_async_warned
    if not client.is_worker or blocking_get_inside_async_warned:
        return
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        blocking_get_inside_async_warned = True
        logger.warning(
            "Using blocking get() inside an async actor. This blocks its event loop: write "
            "`await ref`, or `await asyncio.gather(*refs)`, to let other calls run meanwhile."
        )
