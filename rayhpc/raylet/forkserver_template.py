"""A template: a fork server that has imported what a job's driver had imported.

Called by `forkserver_loop` in the forked copy that becomes the template.  Imports, then checks
whether the process can still be forked: a thread, a ZeroMQ context or an initialised GPU does not
survive a fork.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import weakref
from typing import Any

import zmq

from rayhpc.machine import process_title
from rayhpc.raylet import forkserver_child
from rayhpc.raylet.forkserver_messages import MakeTemplate, Ready, Unfit

_GPU_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri/render")


def prepare(wanted: MakeTemplate) -> Ready | Unfit:
    """Import what is requested; the answer says whether this process may fork workers."""
    process_title.show("rayhpc template")
    forkserver_child.apply_environ(wanted.environ)
    if wanted.folder:
        _enter(wanted.folder)
    for folder in reversed(wanted.path):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    skipped = []
    with _ContextsMade() as contexts:
        for name in wanted.preload:
            if not _import(name):
                skipped.append(name)
            reason = contexts.complaint() or unfit_to_fork()
            if reason:
                return Unfit(name, reason)
    gc.collect()
    gc.freeze()
    return Ready(skipped)


def unfit_to_fork() -> str:
    """Why this process must not fork workers; empty if it may."""
    if _threads() > 1 and _threads_that_stay() > 1:
        return "it started a thread"
    if _has_gpu():
        return "it initialised a GPU"
    return ""


def _import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except BaseException:  # whatever it raises, the worker's own import will raise for the user
        return False
    return True


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError:
        pass  # the driver's folder is not on this node: relative paths are not found either way


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _threads_that_stay() -> int:
    """Threads that remain after a fork: OpenBLAS ends its own at each fork, and restarts them."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return _threads()


class _ContextsMade:
    """Tracks the ZeroMQ contexts created while modules are imported."""

    def __init__(self) -> None:
        self._made: list[weakref.ref[zmq.Context[zmq.Socket[bytes]]]] = []
        self._original = zmq.Context.__init__

    def __enter__(self) -> _ContextsMade:
        original, made = self._original, self._made

        def noting(context: Any, *args: Any, **kwargs: Any) -> None:
            original(context, *args, **kwargs)
            made.append(weakref.ref(context))

        zmq.Context.__init__ = noting  # type: ignore[assignment,method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        zmq.Context.__init__ = self._original  # type: ignore[method-assign]

    def complaint(self) -> str:
        """Why this process must not be forked any more; empty: no context is open."""
        alive = [x for ref in self._made if (x := ref()) is not None and not x.closed]
        return "it made a ZeroMQ context" if alive else ""


def _has_gpu() -> bool:
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return False
    for number in numbers:
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith(_GPU_DEVICES):
                return True
        except OSError:
            continue
    return False
