"""Futures of references, and callbacks at their end: user code that never runs in the thread that
leads.

A part of every driver and worker (`client`).
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

from rayhpc.runtime.process.callbacks import CallbackThread
from rayhpc.runtime.process.getting import get_values
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values.references import ObjectRef


class Futures:
    """What is to be called when objects are there.

    Args:
        objects: this process's.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._is_leaving = False
        self._thread = CallbackThread()

    def future_of(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        """A future that is completed with the value or error of `ref`."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def finish() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(get_values(self._objects, [ref], None)[0])
            except BaseException as error:
                future.set_exception(error)

        self._thread.start()
        self._objects.when_ready(ref, lambda: self._thread.submit(finish))
        return future

    def when_done(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """Run `callback`, in a thread for such, once the object is there or has failed; not at all
        if the process leaves the cluster before.
        """

        def hand_over() -> None:
            # In the leading thread: user code and further submissions belong elsewhere.
            if not self._is_leaving:
                self._thread.submit(callback)

        self._thread.start()
        self._objects.when_ready(ref, hand_over)

    def leave(self) -> None:
        """The process leaves the cluster."""
        self._is_leaving = True

    def close(self) -> None:
        """It has left: run what was given until now, and nothing more."""
        self._thread.close()
