"""A task or actor call that has been submitted and has not ended: the submitter's record.

Made by the submitting thread (`api`), used by `submission`, `calls` and `dependencies`.  Holds
state only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rayhpc.wire.address import ObjectId, sibling
from rayhpc.wire.messages.tasks import Dependency, TaskMore

if TYPE_CHECKING:
    from rayhpc.runtime.class_queue import ClassQueue, Lease
    from rayhpc.runtime.references import ObjectRef


class Pending:
    """One task or call, from submission to its end (and beyond, as lineage).

    `tid` is the id of its first result; `deps` its top-level references, `keep` every reference
    among its arguments, held until its end.  `retries` is what is left of max_retries (-1: for
    ever) after failures of the system, `error_retries` the same, counted apart, after errors of
    the user's code.  `lease` is where it was pushed (None: not).  `stray` says that a run of it
    ended without a word, so that results may lie in a store that no message names; `held` that it
    has ended, but its worker still takes over references of its arguments.  `items` is how many
    results a task with num_returns="dynamic" had.
    """

    __slots__ = (
        "args",
        "attempt",
        "cancelled",
        "definition",
        "deps",
        "error_retries",
        "group",
        "held",
        "items",
        "keep",
        "lease",
        "method",
        "missing",
        "more",
        "name",
        "parent",
        "queue",
        "ready",
        "retries",
        "returns",
        "stray",
        "stream",
        "submitted",
        "target",
        "tid",
    )

    def __init__(
        self,
        tid: ObjectId,
        args: bytes,
        definition: bytes,
        returns: int,
        retries: int,
        name: str,
    ) -> None:
        self.tid = tid
        self.args = args
        self.definition = definition
        self.returns = returns
        self.retries = retries
        self.error_retries = retries
        self.name = name
        self.deps: list[ObjectRef[Any]] | None = None
        self.keep: list[ObjectRef[Any]] | None = None
        self.more: TaskMore | None = None
        self.queue: ClassQueue | None = None
        self.lease: Lease | None = None
        self.attempt = 0
        self.missing = 0
        self.cancelled = False
        self.held = False
        self.stray = False
        self.items = 0
        self.parent = b""
        self.stream: Any = None
        self.submitted = 0.0
        self.method = ""
        self.group = ""
        self.target: Any = None
        self.ready: list[Dependency] = []

    def result_ids(self) -> list[ObjectId]:
        """The ids of its results; of a generator: of the reference that stands for its end."""
        if self.returns <= 1:
            return [self.tid]
        return [sibling(self.tid, i) for i in range(self.returns)]
