"""Which process this is: the one place that knows the running driver or worker.

Used by references, the API and the utilities.  Starts nothing: `api` sets the starter that makes
a cluster when one is needed and there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from rayhpc.exceptions import RaySystemError

if TYPE_CHECKING:
    from rayhpc.runtime.process.process import Process

_process: Process | None = None
_forked = False
_starter: Callable[[], None] | None = None


def set_process(process: Process | None) -> None:
    """Make `process` the current one (None: there is none any more)."""
    global _process
    _process = process


def set_starter(starter: Callable[[], None]) -> None:
    """What starts a cluster when a call needs one before `init`."""
    global _starter
    _starter = starter


def is_connected() -> bool:
    """Whether this process takes part in a cluster."""
    return _process is not None and not _forked


def process() -> Process:
    """The current process, starting the embedded cluster if there is none.

    Raises:
        RaySystemError: in a child that the user's code forked.
    """
    if _process is not None and not _forked:
        return _process
    if _forked:
        raise RaySystemError(
            "rayhpc cannot be used in a process that was forked by your program "
            "(os.fork, multiprocessing with the fork method): its connections belong to the "
            "parent. Use the 'spawn' start method, or make the call in the parent."
        )
    if _starter is None:
        raise RaySystemError("rayhpc is not initialised: call rayhpc.init() first.")
    _starter()
    return process()


def existing() -> Process | None:
    """The current process, or None; starts nothing."""
    return None if _forked else _process


def even_if_forked() -> Process | None:
    """The process, or in a child that the user's code forked its parent's, to be read only."""
    return _process


def travelling_value(oid: bytes) -> tuple[bytes | None, bool]:
    """The small value (and whether it is an error) that travels with a reference, if known here."""
    if _process is None:
        return None, False
    return _process.ownership.travelling_value(oid)


def refuse_foreign(oid: bytes, what: str) -> None:
    """Refuse what was kept from a cluster that this program has left; nothing without a cluster.

    Args:
        oid: the id of an object, actor or placement group.
        what: how the message names it.

    Raises:
        RaySystemError: it belongs to another cluster.
    """
    if _process is not None:
        _process.ownership.refuse_foreign(oid, what)


def _after_fork_in_child() -> None:
    global _forked
    if _process is not None:
        _forked = True
        _process.abandon()


def allow_in_forked_worker() -> None:
    """Called by a worker right after the fork server made it: a process of its own."""
    global _forked, _process
    _forked = False
    _process = None


os.register_at_fork(after_in_child=_after_fork_in_child)
