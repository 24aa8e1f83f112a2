"""A worker's replies: results on their way, and the references inside until these are adopted.

Used by `worker`, `actor` and `generators`, also in the simulation.  Threads that run user code add
results; the leading one sends them (`outbox`), and keeps the references until the owner has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.loop import Loop
from rayhpc.runtime.worker.execution import Outcome
from rayhpc.runtime.worker.outbox import Journal, Outbox
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import tasks


class Replies:
    """The results of one worker.

    Args:
        core: the tables of the process they leave from.
        loop: serves it.
        journal: where results are noted until they have been sent.
    """

    def __init__(self, core: Core, loop: Loop, journal: Journal) -> None:
        self.outbox = Outbox(journal, core.send_now, core.now)
        # Whether owners are watched: a leased worker ends with its submitter, an actor outlives
        # its callers.
        self.outlives_owners = False
        self._ownership = core.ownership
        self._send = core.send_now
        self._loop = loop
        self._kept: dict[ObjectId, tuple[Address, Sequence[Any]]] = {}

    # -- threads that run user code ----------------------------------------------------------------
    def add(self, submitter: Address, outcome: Outcome) -> None:
        """Queue a result; it goes out within a millisecond, and is in the journal until then."""
        result = outcome.result
        if outcome.kept:
            with self._loop.lead():
                self.keep(submitter, result.tid, outcome.kept)
        if not self._ownership.is_settled() and self._add_while_borrowing(submitter, result):
            return
        if not self.outbox.add(submitter, result):
            self.flush()

    def flush(self) -> None:
        """Send the waiting results."""
        if self.outbox:
            with self._loop.lead():
                self.outbox.send()

    def _add_while_borrowing(self, submitter: Address, result: tasks.Result) -> bool:
        """Reply to a task whose arguments are still needed; False: they are not."""
        with self._loop.lead():
            ownership = self._ownership
            ownership.settle()
            if not ownership.borrows_pending():
                return False
            self.outbox.add(submitter, msgspec.structs.replace(result, borrowing=True))
            # Sent at once: the release must not overtake it.
            self.outbox.send()
            ownership.after_borrows(submitter, tasks.Release([result.tid]))
        return True

    # -- the leading thread ------------------------------------------------------------------------
    def send_cancelled(self, owner: Address, tid: ObjectId) -> None:
        """Answer for a task or call that was cancelled before it started."""
        self._send(owner, tasks.Done([tasks.Result(tid, tasks.CANCELLED, [b""])]))

    def keep(self, owner: Address, oid: ObjectId, refs: Sequence[Any]) -> None:
        """Keep references inside a result alive until its owner says `Adopted`."""
        self._kept[oid] = owner, refs
        if self.outlives_owners:
            self._ownership.watch(owner)

    def watch_owners(self) -> None:
        """Watch owners that have not adopted yet, as this process outlives its lease."""
        self.outlives_owners = True
        for owner, _ in self._kept.values():
            self._ownership.watch(owner)

    def on_adopted(self, message: tasks.Adopted) -> None:
        """The owner of results holds the references inside them itself."""
        for tid in message.tids:
            self._kept.pop(tid, None)

    def on_owners_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Drop the references inside these processes' results: nobody will borrow them."""
        for tid in [tid for tid, (owner, _) in self._kept.items() if is_gone(owner)]:
            del self._kept[tid]

    def kept(self) -> list[ObjectId]:
        """The results whose references are kept."""
        return list(self._kept)
