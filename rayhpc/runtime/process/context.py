"""What is running in this thread or coroutine: the task, its job, its resources.

Used by `execution` (sets it), by submission (children learn their parent) and by
`get_runtime_context`.  Holds state only.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import msgspec

from rayhpc.wire.messages.common import Grant


class TaskContext(msgspec.Struct, eq=False, gc=False):
    """One running task or actor call.

    `grant` is what it may use; its placement group is inherited by its children if `capture_group`
    is set.  `function` is what runs, once its arguments are ready.
    """

    tid: bytes
    name: str
    grant: Grant
    attempt: int = 0
    actor: bytes = b""
    capture_group: bool = False
    function: Any = None


running: ContextVar[TaskContext | None] = ContextVar("rayhpc_task", default=None)


class ActorExit(SystemExit):
    """Raised by `exit_actor`: the actor exits gracefully."""
