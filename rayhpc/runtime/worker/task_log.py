"""What a worker has run, for `timeline` and `list_tasks`: every run, recorded in 0.2 µs.

Used by `worker` and `actor`.  A report goes to the raylet every quarter of a second, or as soon as
there are `PER_REPORT` runs; a process that exits gracefully reports first.  Recording creates no
object that the garbage collector would have to track, and keeps no argument alive.

Any thread that runs user code records, the leading one reports: no lock is needed, because there is
a single list, which only grows at one end and is emptied at the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rayhpc.runtime.worker.failure_notes import FailureNotes
from rayhpc.wire import runs
from rayhpc.wire.messages import tasks
from rayhpc.wire.messages.task_runs import ReportRuns, RunPage

EVERY_S = 0.25
PER_REPORT = 4_000
# Only for a process whose leading thread cannot report: 8 MiB.
MOST = 50_000


class TaskLog:
    """The runs of this process that have not been reported.

    Args:
        now: the time in seconds, monotonic.

    Attributes:
        uses: the CPUs and GPUs of what runs now (units of 1/10000).
        waited: how long it has waited for others, in seconds, since the last recorded run.
        failures: how failed runs are named.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.uses = (0, 0)
        self.waited = 0.0
        self.failures = FailureNotes()
        self._now = now
        # `runs.WIDTH` values per run, one after another.
        self._flat: list[Any] = []
        self._count = 0
        self._dropped = 0
        self._next = 0.0
        self._offset = time.time() - now()

    def note(
        self,
        task: tasks.Task | tasks.Call,
        name: str,
        start: float,
        seconds: float,
        job: int,
        actor: bytes = b"",
        error: str = "",
    ) -> None:
        """Record a run that has ended, unless it is to be in no listing; `start` is on the log's
        clock, `error` from `failures`.
        """
        more = task.more
        if more is not None:
            if more.unlisted:
                return
            if more.function:
                name = runs.both_names(name, more.function)
        if self._count >= MOST:
            self._dropped += 1
            return
        waited = self.waited
        if waited:
            self.waited = 0.0
        took = runs.sources_of(task.deps) if task.deps else b""
        attempt, uses, submitted = task.attempt, self.uses, task.submitted
        run = (task.tid, start, seconds, more, took, waited, submitted)
        # In one call: other threads record, too.
        self._flat.extend((*run, name, job, actor, attempt, error, uses))
        # After the run has been added: a report in between must not leave it behind uncounted.
        self._count += 1

    def is_due(self) -> bool:
        """Whether a report should go out."""
        count = self._count
        return count > 0 and (count >= PER_REPORT or self._now() >= self._next)

    def deadline(self) -> float | None:
        """When a report is due; None: there is nothing to report."""
        return self._next if self._count else None

    def report(self, pid: int, worker: int) -> ReportRuns:
        """The report; its contents are dropped here."""
        # First, so that what is recorded from now on counts.
        self._count = 0
        self._next = self._now() + EVERY_S
        dropped, self._dropped = self._dropped, 0
        taken = self._flat[:]
        del self._flat[: len(taken)]
        count = len(taken) // runs.WIDTH
        tracebacks = self.failures.take()
        return ReportRuns(count, dropped, runs.pack(taken, worker, pid, self._offset, tracebacks))

    def unreported(self, pid: int, worker: int) -> RunPage:
        """What the next report will contain; nothing is dropped."""
        return RunPage([runs.pack(self._flat[:], worker, pid, self._offset)])
