"""A worker's answers to its submitter, apart from its sockets."""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.worker.worker import Worker
from rayhpc.wire.messages import tasks


class _Sent:
    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send(self, _: int, message: Any) -> None:
        self.messages.append(message)


def test_functions_that_come_with_refused_tasks_are_kept() -> None:
    worker: Any = Worker.__new__(Worker)
    worker.transport = sent = _Sent()
    worker.leaving = None
    worker._revoked = 7
    worker._definitions = {}
    task = tasks.Task(bytes(16), b"f", b"", [], 1, 0, None)
    worker._on_push(1, tasks.Push(7, [task], {b"f": b"code"}, None))
    (refused,) = sent.messages
    assert refused.ended
    assert worker._definitions == {b"f": b"code"}
