"""When an object is there, and whether it is an error: known without fetching its value.

Used by `util`, whose pools and executors keep actors and tasks busy.  None of this starts a
cluster: it may come from a thread that outlives one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from rayhpc.api.objects.waiting import Wait
from rayhpc.exceptions import RaySystemError
from rayhpc.runtime.owner.entries import ERROR
from rayhpc.runtime.process import current
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.process.process import Process
from rayhpc.runtime.values import errors, getting
from rayhpc.runtime.values.references import ObjectRef


def when_done(ref: ObjectRef[Any], callback: Callable[[ObjectRef[Any]], object]) -> None:
    """Call `callback(ref)` once the object is there or has failed.

    It runs in the process's thread for callbacks, and not at all if the program leaves the cluster
    before.

    Raises:
        RaySystemError: the program has left the cluster.
    """
    process = _process()

    def hand_over() -> None:
        # In the leading thread: user code and further submissions belong elsewhere.
        if current.existing() is process:
            process.callbacks.submit(callback, ref)

    process.callbacks.start()
    process.when_ready(ref, hand_over)


def error_of(ref: ObjectRef[Any]) -> BaseException | None:
    """The error that a reference that is ready stands for; None: a value.

    Raises:
        RaySystemError: the program has left the cluster.
    """
    entry = _process().entry_of(ref)
    return errors.load_error(entry.value) if entry.state == ERROR else None


def value_of(ref: ObjectRef[Any]) -> Any:
    """`get`, which here never starts a cluster.

    Raises:
        RaySystemError: the program has left the cluster.
        RayError: the object is an error.
    """
    process = _process()
    with inside:
        return getting.get_values(process, [ref], None)[0]


def wait_for_one(refs: list[ObjectRef[Any]], timeout: float | None) -> list[Any]:
    """Those of `refs` that are done, once one is; none if `timeout` seconds are over first.

    Raises:
        RaySystemError: the program has left the cluster, or the cluster has ended.
    """
    process = _process()
    with inside:
        return Wait(process, refs, 1, False).run(timeout)[0]


def pack_error(error: BaseException, function_name: str) -> bytes:
    """What a task would send if `error`, which is being handled, were its own."""
    process = _process()
    return errors.dump_error(
        error,
        function_name=function_name,
        pid=os.getpid(),
        ip=process.facts.node_ip,
        actor_repr=None,
    )


def unpack_error(packed: bytes) -> BaseException:
    """The exception that `get` would raise for what `pack_error` has made."""
    return errors.load_error(packed)


def _process() -> Process:
    process = current.existing()
    if process is None:
        raise RaySystemError("This program has left the cluster that the work was given to.")
    return process
