"""What a process knows about one object: the entries of its reference table.

Used by `references`, `ownership`, `submission` and `process`.  Holds state only; entries are
changed only by the thread that leads, except that a submitting thread creates new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.runtime.owner.pending import Pending
from rayhpc.wire.address import Address

# Entry.state
PENDING = 0  # not ready: its task waits or runs, or (borrowed) we have not asked
INLINE = 1  # `value` is the pickled value
STORED = 2  # in the store of node `value`
ERROR = 3  # `value` is the pickled error


class Entry(msgspec.Struct, eq=False, gc=False):
    """One object that this process owns or borrows.

    `count` is the number of local references; `borrowers` are the other holders (owned objects;
    address → signed count).  `task` is what creates it (lineage), kept while it may be needed
    again. `inner` are references inside the value, kept alive with it.  `callbacks` run, in the
    leading thread, when the state leaves PENDING; `on_free` when nobody refers to the object any
    more. `asked` records that the raylet waits for our `Tell`.  `leftover`: a copy may be in a
    store although the value is small or an error (an earlier run of the task wrote it, and died).
    `view` is a pin of the stored value that is kept for a moment (`recent_views`).  `attempt`:
    copies that earlier attempts of its task have stored do not count.

    A struct that the cyclic garbage collector does not track: entries come and go by the ten
    thousand, and its passes took a third of a task's cost at the submitter.  An entry is part of a
    cycle only through a callback, which is dropped when the object is ready or the process ends.
    """

    task: Pending | None = None
    state: int = PENDING
    value: Any = None
    count: int = 1
    borrowers: dict[Address, int] | None = None
    inner: list[Any] | None = None
    callbacks: list[Callable[[], object]] | None = None
    on_free: Callable[[], None] | None = None
    asked: bool = False
    requested: bool = False
    leftover: bool = False
    size: int = 0
    view: Any = None
    attempt: int = 0

    def when_ready(self, callback: Callable[[], object]) -> None:
        """Run `callback` in the leading thread once the object is ready; now, if it already is."""
        if self.state != PENDING:
            callback()
        elif self.callbacks is None:
            self.callbacks = [callback]
        else:
            self.callbacks.append(callback)

    def forget_ready(self, callback: Callable[[], object]) -> None:
        """Undo `when_ready` (leading thread)."""
        callbacks = self.callbacks
        if callbacks is not None and callback in callbacks:
            callbacks.remove(callback)
            if not callbacks:
                self.callbacks = None
