"""The functions that a worker has been sent, loaded when a task first needs them.

Used by `worker` (what comes with pushes) and `task_runner`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rayhpc.runtime.process.interrupts import outside
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.names import make_nameable
from rayhpc.wire.address import Address
from rayhpc.wire.messages import tasks

Load = Callable[[bytes], Any]


def _collect_nothing() -> None:
    pass


def unpickled(blob: bytes) -> Any:
    """The function or class of a definition that arrived; its module's code may run."""
    with outside:
        return serialization.deserialize(blob)


class Definitions:
    """Pickled and loaded functions, by id.

    Args:
        load: makes a function from what arrives.
        collect_garbage: has the garbage collector run outside the leading thread.
    """

    def __init__(
        self, load: Load, collect_garbage: Callable[[], object] = _collect_nothing
    ) -> None:
        self.load = load
        self._collect_garbage = collect_garbage
        self._blobs: dict[bytes, bytes] = {}
        self._loaded: dict[bytes, Any] = {}
        # The function of an id, if it is loaded: an attribute, as it is read for each task.
        self.loaded = self._loaded.get
        # Which submitter has sent which function, and still has tasks of it.
        self._senders: dict[bytes, set[Address]] = {}

    def learn(self, submitter: Address, definitions: dict[bytes, bytes]) -> None:
        """Take functions that have arrived (leading thread)."""
        for key, blob in definitions.items():
            self._senders.setdefault(key, set()).add(submitter)
            if key not in self._loaded:
                self._blobs.setdefault(key, blob)

    def forget(self, submitter: Address, message: tasks.Forget) -> None:
        """Forget functions of which a submitter has no task left (leading thread)."""
        was_loaded = False
        for key in message.definitions:
            senders = self._senders.get(key, set())
            senders.discard(submitter)
            if not senders:
                self._senders.pop(key, None)
                self._blobs.pop(key, None)
                was_loaded |= self._loaded.pop(key, None) is not None
        if was_loaded and message.with_refs:
            # A class, or a function that calls itself, is a reference cycle, and an idle
            # worker makes no garbage that would trigger the collector.
            self._collect_garbage()

    def __contains__(self, key: bytes) -> bool:
        return key in self._loaded or key in self._blobs

    def get(self, key: bytes) -> Any:
        """The function of this id, which has arrived (main thread)."""
        function = self._loaded.get(key)
        if function is None:
            function = self._loaded[key] = self.load(self._blobs[key])
            make_nameable(function)
            self._blobs.pop(key, None)
        return function
