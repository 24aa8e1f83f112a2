"""Descriptors that belong to one process and must not survive in its forked children.

Used by the node process and by whatever holds a session's life pipe: the end of a pipe, or a lock,
means "its holder is gone" only if no forked child keeps a copy.  Executed programs never inherit
them (close-on-exec).
"""

from __future__ import annotations

import os

_mine: set[int] = set()
_registered = False


def keep_private(descriptor: int) -> int:
    """Have `descriptor` closed in every child this process forks; returns it."""
    global _registered
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=_close_all)
    _mine.add(descriptor)
    return descriptor


def close_private(descriptor: int) -> None:
    """Close a private descriptor; does nothing if it is already closed."""
    if descriptor in _mine:
        _mine.discard(descriptor)
        os.close(descriptor)


def release(descriptor: int) -> int:
    """Let children inherit `descriptor` again; returns it."""
    _mine.discard(descriptor)
    return descriptor


def _close_all() -> None:
    for descriptor in list(_mine):
        try:
            os.close(descriptor)
        except OSError:
            pass  # already closed by code that did not say so
    _mine.clear()
