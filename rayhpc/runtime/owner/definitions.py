"""Functions and classes as a submitter sends them: pickled once, kept while someone needs them.

Created by `api.tasks.export`, held by the user's objects and by every unfinished task (and its
lineage); so the references that a definition has captured live as long as it is in use.
`Definitions` knows which worker has been sent which, and tells workers what is no longer needed.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import Address
from rayhpc.wire.messages import tasks

Send = Callable[[Address, msgspec.Struct], None]


class Definition:
    """A function or class.

    Args:
        id: what workers identify it by: a hash of the pickle.
        blob: the pickle.
        refs: the references inside.
    """

    __slots__ = ("__weakref__", "blob", "id", "refs")

    def __init__(self, id: bytes, blob: bytes, refs: list[ObjectRef[Any]]) -> None:
        self.id = id
        self.blob = blob
        self.refs = refs


class Definitions:
    """The definitions of this process, and what each worker has of them (leading thread).

    Args:
        send: sends a message.

    Attributes:
        gone: ids of definitions that are gone, for `settle`: recorded by finalizers, in any thread.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._sent: dict[Address, set[bytes]] = {}
        self._known: dict[bytes, weakref.ref[Definition]] = {}
        # Those among them that have captured references.
        self._with_refs: set[bytes] = set()
        self._lock = threading.Lock()
        self.gone: deque[bytes] = deque()

    def the_one(self, definition: Definition) -> Definition:
        """The definition in use with this id; only such are sent.  Any thread may call this."""
        key, gone = definition.id, self.gone
        with self._lock:
            known = self._known.get(key)
            found = None if known is None else known()
            if found is None:
                found = definition
                self._known[key] = weakref.ref(definition, lambda _: gone.append(key))
                if definition.refs:
                    self._with_refs.add(key)
        return found

    def __len__(self) -> int:
        return len(self._known)

    def sent_to(self, worker: Address) -> set[bytes]:
        """The ids of the definitions that a worker has; callers add to it."""
        found = self._sent.get(worker)
        if found is None:
            found = self._sent[worker] = set()
        return found

    def forget_worker(self, worker: Address) -> None:
        """A worker has ended."""
        self._sent.pop(worker, None)

    def settle(self) -> None:
        """Tell workers which definitions nobody here needs any more."""
        unused: list[bytes] = []
        while self.gone:
            key = self.gone.popleft()
            with self._lock:
                known = self._known.get(key)
                # It may have been created again in the meantime.
                if known is not None and known() is None:
                    del self._known[key]
                    unused.append(key)
        if not unused:
            return
        with_refs = self._with_refs.intersection(unused)
        self._with_refs -= with_refs
        for worker, sent in self._sent.items():
            there = [key for key in unused if key in sent]
            if there:
                sent.difference_update(there)
                self._send(worker, tasks.Forget(there, not with_refs.isdisjoint(there)))
