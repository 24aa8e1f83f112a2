"""What a worker has run, for `timeline` and `list_tasks`: noted cheaply, reported once a second.

Used by `worker` and `actor_host`.  Bounded: of a flood of tiny tasks the first ones of each
second are reported.
"""

from __future__ import annotations

import time

from rayhpc.wire.messages import tasks
from rayhpc.wire.messages.cluster import ReportEvents, TaskEvent

EVERY_S = 1.0
PER_REPORT = 2000


class TaskLog:
    """The runs of this process that have not been reported."""

    def __init__(self) -> None:
        self._runs: list[tuple[tasks.Task | tasks.Call, str, float, float, int, bytes]] = []
        self._next = 0.0
        self._offset = time.time() - time.perf_counter()

    def note(
        self,
        task: tasks.Task | tasks.Call,
        name: str,
        start: float,
        seconds: float,
        job: int,
        actor: bytes = b"",
    ) -> None:
        """A run that has ended; `start` is of `time.perf_counter`."""
        if len(self._runs) < PER_REPORT:
            self._runs.append((task, name, start, seconds, job, actor))

    def is_due(self) -> bool:
        """Whether a report should go out."""
        return bool(self._runs) and time.monotonic() >= self._next

    def deadline(self) -> float | None:
        """When a report is due (of `time.monotonic`); None: there is nothing to report."""
        return self._next if self._runs else None

    def report(self, pid: int, worker: int) -> ReportEvents:
        """The report; what it holds is forgotten here."""
        runs, self._runs = self._runs, []
        self._next = time.monotonic() + EVERY_S
        return ReportEvents([self._event(*run, pid=pid, worker=worker) for run in runs])

    def unreported(self, pid: int, worker: int) -> list[TaskEvent]:
        """What the next report will hold; nothing is forgotten."""
        return [self._event(*run, pid=pid, worker=worker) for run in list(self._runs)]

    def _event(
        self,
        task: tasks.Task | tasks.Call,
        name: str,
        start: float,
        seconds: float,
        job: int,
        actor: bytes,
        *,
        pid: int,
        worker: int,
    ) -> TaskEvent:
        begun = start + self._offset
        return TaskEvent(
            tid=task.tid,
            name=name,
            kind="ACTOR_TASK" if actor else "NORMAL_TASK",
            state="FINISHED",
            job=job,
            worker=worker,
            pid=pid,
            started=begun,
            ended=begun + seconds,
            actor=actor,
            parent=task.more.parent if task.more is not None else b"",
            attempt=task.attempt,
        )
