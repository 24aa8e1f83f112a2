"""Whether an object is ready, and whether it is an error, without fetching its value.

Used by `util`, whose pools and executors keep actors and tasks busy.  Nothing here starts a
cluster, since the call may come from a thread that outlives one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from rayhpc.exceptions import RaySystemError
from rayhpc.runtime.process import current
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.values import errors
from rayhpc.runtime.values.references import ObjectRef


def when_done(ref: ObjectRef[Any], callback: Callable[[ObjectRef[Any]], object]) -> None:
    """Call `callback(ref)` once the object is ready or has failed.

    It runs in the process's callback thread, or not at all if the program leaves the cluster first.

    Raises:
        RaySystemError: the program has left the cluster.
    """
    _client().when_done(ref, lambda: callback(ref))


def error_of(ref: ObjectRef[Any]) -> BaseException | None:
    """The error of a ready reference; None: it has a value.

    Raises:
        RaySystemError: the program has left the cluster.
    """
    error = _client().known(ref).error
    return None if error is None else errors.load_error(error)


def value_of(ref: ObjectRef[Any]) -> Any:
    """Like `get`, but never starts a cluster.

    Raises:
        RaySystemError: the program has left the cluster.
        RayError: the object is an error.
    """
    client = _client()
    with inside:
        return client.get([ref], None)[0]


def wait_for_one(refs: list[ObjectRef[Any]], timeout: float | None) -> list[Any]:
    """Those of `refs` that are done, once one is; empty after `timeout` seconds.

    Raises:
        RaySystemError: the program has left the cluster, or the cluster has ended.
    """
    client = _client()
    with inside:
        return client.wait(refs, 1, False, timeout)[0]


def pack_error(error: BaseException, function_name: str) -> bytes:
    """What a task would send if `error`, now being handled, were its own."""
    client = _client()
    return errors.dump_error(
        error,
        function_name=function_name,
        pid=os.getpid(),
        ip=client.facts.node_ip,
        actor_repr=None,
    )


def unpack_error(packed: bytes) -> BaseException:
    """The exception that `get` would raise for the output of `pack_error`."""
    return errors.load_error(packed)


def _client() -> Client:
    client = current.existing()
    if client is None:
        raise RaySystemError("This program has left the cluster the work was submitted to.")
    return client
