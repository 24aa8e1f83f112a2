"""What a worker answers: results on their way, and the references inside until these are taken.

Used by `worker`, `actor` and `generators`, also in the simulation.  Threads that run user code add
results; the leading one sends them (`outbox`), and keeps what is inside until the owner has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.worker.execution import Outcome
from rayhpc.runtime.worker.outbox import Journal, Outbox
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import tasks


class Leader(Protocol):
    """What replies need of the process: its table, its sockets, the right to touch them."""

    ownership: Ownership
    send_now: Callable[[Address, msgspec.Struct], None]
    now: Callable[[], float]

    def lead(self) -> Any: ...


class Replies:
    """The results of one worker.

    Args:
        process: the process they leave from.
        journal: where they are noted until they have gone.
    """

    def __init__(self, process: Leader, journal: Journal) -> None:
        self.outbox = Outbox(journal, process.send_now, process.now)
        # Whether owners are watched: a leased worker ends with its submitter, an actor outlives
        # its callers.
        self.outlives_owners = False
        self._process = process
        self._kept: dict[ObjectId, tuple[Address, Sequence[Any]]] = {}

    # -- threads that run user code ----------------------------------------------------------------
    def add(self, submitter: Address, outcome: Outcome) -> None:
        """Queue a result; it goes out within a millisecond, and is in the journal until then."""
        process = self._process
        result = outcome.result
        if outcome.kept:
            with process.lead():
                self.keep(submitter, result.tid, outcome.kept)
        ownership = process.ownership
        claims = ownership.has_news() or ownership.claims_pending()
        if claims and self._add_with_claims(submitter, result):
            return
        if not self.outbox.add(submitter, result):
            self.flush()

    def flush(self) -> None:
        """Send the results that wait."""
        if self.outbox:
            with self._process.lead():
                self.outbox.send()

    def flush_if_due(self, more: bool) -> None:
        """Send the results that wait, unless another follows within half a millisecond."""
        if not more or self.outbox.is_old():
            self.flush()

    def _add_with_claims(self, submitter: Address, result: tasks.Result) -> bool:
        """Reply to a task whose arguments are still needed; False: they are not."""
        process = self._process
        with process.lead():
            ownership = process.ownership
            ownership.settle()
            if not ownership.claims_pending():
                return False
            self.outbox.add(submitter, msgspec.structs.replace(result, held=True))
            # At once: the release must not overtake it.
            self.outbox.send()
            ownership.after_borrows(submitter, tasks.Release([result.tid]))
        return True

    # -- the leading thread ------------------------------------------------------------------------
    def send_cancelled(self, owner: Address, tid: ObjectId) -> None:
        """Answer for a task or call that was cancelled before it started."""
        self._process.send_now(owner, tasks.Done([tasks.Result(tid, tasks.CANCELLED, [b""])]))

    def keep(self, owner: Address, oid: ObjectId, refs: Sequence[Any]) -> None:
        """Keep references inside a result alive until its owner says `Adopted`."""
        self._kept[oid] = owner, refs
        if self.outlives_owners:
            self._process.ownership.watch(owner)

    def watch_owners(self) -> None:
        """This process outlives its lease: be told when owners end who have not claimed yet."""
        self.outlives_owners = True
        for owner, _ in self._kept.values():
            self._process.ownership.watch(owner)

    def on_adopted(self, message: tasks.Adopted) -> None:
        """The owner of results holds the references inside them itself."""
        for tid in message.tids:
            self._kept.pop(tid, None)

    def on_owners_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Nobody will claim what is inside these processes' results."""
        for tid in [tid for tid, (owner, _) in self._kept.items() if is_gone(owner)]:
            del self._kept[tid]

    def kept(self) -> list[ObjectId]:
        """The results whose references are kept."""
        return list(self._kept)
