"""The submitter's record of an unfinished task or actor call.

Created by the submitting thread (`api`), used by `submission`, `calls` and `dependencies`.  Holds
state only.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from rayhpc.runtime.owner.actor_client import ActorClient
from rayhpc.runtime.owner.class_queue import ClassQueue, Lease
from rayhpc.runtime.owner.definitions import Definition
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import ObjectId, sibling
from rayhpc.wire.messages import tasks
from rayhpc.wire.messages.tasks import Dependency, TaskMore


class Items(Protocol):
    """Where the items of a generator task go (`streams.Stream`)."""

    def lacks(self, result: tasks.Result) -> bool:
        """Whether items are missing of a task that has ended with this result."""

    def finish(self, result: tasks.Result) -> None:
        """The task has succeeded."""

    def fail(self, error: bytes, attempt: int) -> None:
        """The task has failed; what attempts before this one have stored does not count."""

    def reopen(self) -> None:
        """The task runs again, for items that were lost."""

    def item_ids(self) -> list[ObjectId]:
        """The ids of the items received so far."""

    def take_all(self) -> list[ObjectRef[Any]]:
        """The items of an ended task that nobody has taken; none are kept."""


class Pending(msgspec.Struct, eq=False, gc=False):
    """One task or call, from submission to its end (and beyond, as lineage).

    `tid` is the id of its first result; `deps` its top-level references, `keep` every reference
    among its arguments, held until its end.  `retries` is what remains of max_retries (-1:
    unlimited) after system failures and errors of the user's code, together.  `lease` is where it
    was pushed (None: not pushed).  `leftover` says that a run of it ended without reporting, or
    that its results were lost: results may be in a store that no message names.  `size` is the size
    of the arguments it carries in bytes, `counted` how many of them the budget of inline values
    knows about.
    `awaited`: a `get` of its result was left with another error, so that its own is no news.

    The cyclic garbage collector does not track it, for the same reason as `Entry`: whatever refers
    back to it (a queue, a lease, an actor's client) drops it when it ends.
    """

    tid: ObjectId
    args: bytes
    definition: Definition | None
    returns: int
    retries: int
    name: str
    deps: list[ObjectRef[Any]] | None = None
    keep: list[ObjectRef[Any]] | None = None
    more: TaskMore | None = None
    queue: ClassQueue[Pending] | None = None
    lease: Lease[Pending] | None = None
    attempt: int = 0
    missing: int = 0
    cancelled: bool = False
    leftover: bool = False
    size: int = 0
    counted: int = 0
    parent: bytes = b""
    stream: Items | None = None
    submitted: float = 0.0
    method: str = ""
    group: str = ""
    target: ActorClient[Pending] | None = None
    ready: tuple[Dependency, ...] = ()
    awaited: bool = False

    def let_go(self) -> None:
        """Forget what may lead back here, when the process has left its cluster."""
        self.deps = self.keep = self.queue = self.lease = self.stream = self.target = None

    def is_again(self) -> bool:
        """Whether it is a call that is repeated because results of it were lost."""
        return self.more is not None and self.more.again

    def function(self) -> str:
        """The function or method, if it has a name of its own; else empty."""
        return "" if self.more is None else self.more.function

    def is_unlisted(self) -> bool:
        """Whether no listing shows it."""
        return self.more is not None and self.more.unlisted

    def result_ids(self) -> list[ObjectId]:
        """The ids of its results; for a generator, of the reference that stands for its end."""
        if self.returns <= 1:
            return [self.tid]
        return [sibling(self.tid, i) for i in range(self.returns)]
