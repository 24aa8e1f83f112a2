"""Which process this is: the one place that knows the client of the current driver or worker.

Used by references, the API and the utilities.  Starts nothing itself: `api` sets the function that
starts a cluster when one is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from rayhpc.exceptions import RaySystemError
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.values import references

_client: Client | None = None
_forked = False
_starter: Callable[[], None] | None = None


def set_client(client: Client | None) -> None:
    """Make `client` the current one (None: there is none any more)."""
    global _client
    _client = client


def set_starter(starter: Callable[[], None]) -> None:
    """Set the function that starts a cluster when a call needs one before `init`."""
    global _starter
    _starter = starter


def is_connected() -> bool:
    """Whether this process is part of a cluster."""
    return _client is not None and not _forked


def client() -> Client:
    """The current process's client, starting the embedded cluster if there is none.

    Raises:
        RaySystemError: in a child that the user's code forked.
    """
    if _client is not None and not _forked:
        return _client
    if _forked:
        raise RaySystemError(
            "rayhpc cannot be used in a process that was forked by your program "
            "(os.fork, multiprocessing with the fork method): its connections belong to the "
            "parent. Use the 'spawn' start method, or make the call in the parent."
        )
    if _starter is None:
        raise RaySystemError("rayhpc is not initialised: call rayhpc.init() first.")
    _starter()
    return client()


def existing() -> Client | None:
    """The current process's client, or None; starts nothing."""
    return None if _forked else _client


def even_if_forked() -> Client | None:
    """The client or, in a child forked by user code, its parent's, for reading only."""
    return _client


def _travelling_value(oid: bytes) -> tuple[bytes | None, bool, int]:
    return (None, False, 0) if _client is None else _client.travelling_value(oid)


def refuse_foreign(oid: bytes, what: str) -> None:
    """Reject what was kept from a cluster that this program has left; a no-op without a cluster.

    Args:
        oid: the id of an object, actor or placement group.
        what: its name in the message.

    Raises:
        RaySystemError: it belongs to another cluster.
    """
    if _client is not None:
        _client.refuse_foreign(oid, what)


def _after_fork_in_child() -> None:
    global _forked
    if _client is not None:
        _forked = True
        _client.abandon()


def allow_in_forked_worker() -> None:
    """Called by a worker right after the fork server has forked it: it is a separate process."""
    global _forked, _client
    _forked = False
    _client = None


references.hooks.home = client
references.hooks.travelling_value = _travelling_value
os.register_at_fork(after_in_child=_after_fork_in_child)
