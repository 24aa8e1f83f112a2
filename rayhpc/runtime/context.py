"""What runs now, in this thread or coroutine: the task, its job, its resources.

Used by `execution` (sets it), by submission (children learn their parent) and by
`get_runtime_context`.  Holds state only.
"""

from __future__ import annotations

from contextvars import ContextVar

from rayhpc.wire.messages.common import Grant


class TaskContext:
    """One running task or actor call.

    `grant` is what it may use; `group` the placement group that its children inherit if
    `capture_group` is set.
    """

    __slots__ = ("actor", "attempt", "capture_group", "grant", "name", "tid")

    def __init__(
        self,
        tid: bytes,
        name: str,
        grant: Grant,
        attempt: int = 0,
        actor: bytes = b"",
        capture_group: bool = False,
    ) -> None:
        self.tid = tid
        self.name = name
        self.grant = grant
        self.attempt = attempt
        self.actor = actor
        self.capture_group = capture_group


running: ContextVar[TaskContext | None] = ContextVar("rayhpc_task", default=None)
