"""A task or actor call that has been submitted and has not ended: the submitter's record.

Made by the submitting thread (`api`), used by `submission`, `calls` and `dependencies`.  Holds
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
        """Whether items of a task that has ended so have not come."""

    def finish(self, result: tasks.Result) -> None:
        """The task has ended well."""

    def fail(self, error: bytes) -> None:
        """The task has failed."""

    def reopen(self) -> None:
        """The task runs again, for items that were lost."""

    def item_ids(self) -> list[ObjectId]:
        """The ids of the items received so far."""

    def take_all(self) -> list[ObjectRef[Any]]:
        """The items of one that has ended, which nobody has taken; it keeps none."""


class Pending(msgspec.Struct, eq=False, gc=False):
    """One task or call, from submission to its end (and beyond, as lineage).

    `tid` is the id of its first result; `deps` its top-level references, `keep` every reference
    among its arguments, held until its end.  `retries` is what is left of max_retries (-1: for
    ever) after failures of the system and errors of the user's code, together.  `lease` is where it
    was pushed (None: not).  `leftover` says that a run of it
    ended without a word, so that results may lie in a store that no message names.  `size` is how
    many bytes of arguments it carries, `counted` how many of them the budget of inline values was
    told of.

    The cyclic garbage collector does not see it, for the reason and by the right of `Entry`: what
    leads back to it (a queue, a lease, an actor's client) forgets it when it ends.
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

    def is_again(self) -> bool:
        """Whether it is a call that runs once more because results of it were lost."""
        return self.more is not None and self.more.again

    def result_ids(self) -> list[ObjectId]:
        """The ids of its results; of a generator: of the reference that stands for its end."""
        if self.returns <= 1:
            return [self.tid]
        return [sibling(self.tid, i) for i in range(self.returns)]
