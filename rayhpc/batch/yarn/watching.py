"""Watches a job: its state and its output, queried as often as is worthwhile.

Used by `jobs`.  When the application has ended, the rest of its output is fetched, its end is
recorded in the folder, and its staged files are removed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.folder import JobFolder, Summary
from rayhpc.batch.job_status import JobStatus, State
from rayhpc.batch.yarn import staging
from rayhpc.batch.yarn.logs import Mirror
from rayhpc.batch.yarn.reports import status_of
from rayhpc.batch.yarn.session import Session
from rayhpc.hadoop.errors import HadoopError, RemoteError
from rayhpc.hadoop.ids import parse_application
from rayhpc.hadoop.messages.applications import (
    ApplicationReportProto,
    LogAggregationStatusProto,
)

# The ResourceManager's exception for an application that it does not know (any more).
_FORGOTTEN = "ApplicationNotFoundException"
# In the job's folder: where its files were staged.
STAGED = "staged.json"
# Between two queries: at first, and when nothing has happened for a while.
_FIRST_S, _LONGEST_S = 0.2, 2.0
# How long to wait for YARN to collect a job's logs, if there is no other way to see them.
_COLLECTED_S = 20.0
_COLLECTS = (
    LogAggregationStatusProto.LOG_NOT_START,
    LogAggregationStatusProto.LOG_RUNNING,
    LogAggregationStatusProto.LOG_SUCCEEDED,
    LogAggregationStatusProto.LOG_RUNNING_WITH_FAILURE,
)


class Watch:
    """Watches one job.

    Args:
        folder: the job's folder.
        session: for queries.
        say: called with what the user should know, once each.
    """

    def __init__(self, folder: JobFolder, session: Session, say: Callable[[str], None]) -> None:
        self._folder, self._session, self._say = folder, session, say
        self._id = folder.record().id
        self._number = parse_application(self._id)
        self._mirror = Mirror(folder, session, self._id)
        self._attempt = 0
        self._next = 0.0
        self._every = _FIRST_S
        self._last: JobStatus | None = None
        self._is_forgotten = False
        self._told: set[str] = set()

    def status(self) -> JobStatus | None:
        """The state as of the last query, as `look` returns it; queries if there was none."""
        return None if self._is_forgotten else self._last or self.look()

    def has_ended(self) -> bool:
        """Whether the application is over, according to a query now."""
        self.look()
        return self.is_over()

    def is_over(self) -> bool:
        """Whether the application was over, or forgotten, at the last query."""
        return self._is_forgotten or (self._last is not None and self._last.state.ended)

    def pause(self, seconds: float) -> None:
        """Wait, and query when it is time."""
        time.sleep(seconds)
        if time.monotonic() >= self._next:
            before = self._last
            try:
                self.look()
            except HadoopError as error:
                self._tell(str(error))
            self._every = _FIRST_S if self._last != before else min(self._every * 1.2, _LONGEST_S)
            self._next = time.monotonic() + self._every

    def look(self) -> JobStatus | None:
        """Query the state, fetch the output; None: the ResourceManager does not know the job.

        Raises:
            HadoopError: the ResourceManager does not answer, or there is no ticket.
        """
        try:
            report = self._session.client.report(self._number)
        except RemoteError as error:
            if error.name != _FORGOTTEN:
                raise
            self._is_forgotten = True
            return None
        self._last = status_of(report)
        self._fetch(report)
        if self._last.state.ended:
            self._remove_staged()
            # A cancelled job has no exit code; YARN continues to say so.
            if self._last.state is not State.CANCELLED and self._folder.summary() is None:
                self._note_end(report, self._last)
        return self._last

    def _fetch(self, report: ApplicationReportProto) -> None:
        attempt = report.currentApplicationAttemptId
        number = attempt.attemptId if attempt is not None else 0
        try:
            place = self._mirror.place(again=number != self._attempt)
        except (HadoopError, OSError) as error:
            self._tell(f"the job's output cannot be fetched: {error}")
            return
        self._attempt = number if place is not None else 0
        if place is None:
            return
        shown = self._mirror.fetch()
        if status_of(report).state.ended:
            self._mirror.fetch_recording()
            shown = self._fetch_collected(report, wait=not shown) or shown
        if not shown:
            self._tell(
                f"the job's output is on {place.web}, which does not show it; `yarn logs "
                f"-applicationId {self._id}` has it after the job's end"
            )

    def _fetch_collected(self, report: ApplicationReportProto, wait: bool) -> bool:
        """Fetch what YARN has collected after the end; `wait` if nothing else serves it."""
        deadline = time.monotonic() + (_COLLECTED_S if wait else 0.0)
        while report.log_aggregation_status in _COLLECTS:
            if self._mirror.fetch_collected(report.user):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_FIRST_S)
            report = self._session.client.report(self._number)
        return False

    def _note_end(self, report: ApplicationReportProto, status: JobStatus) -> None:
        started = (report.launchTime or report.startTime) / 1000
        nodes = f"{self._folder.record().nodes} containers"
        code = status.exit_code or 0
        summary = Summary(code, started, report.finishTime / 1000, nodes, job_id=status.id)
        self._folder.set_summary(summary)
        why = f": {status.reason}" if status.reason else ""
        self._say(f"job {status.id} is over ({status.word}){why}")

    def _remove_staged(self) -> None:
        """Remove the staged files; the record of where they are is kept until they are gone."""
        try:
            kind, name = json.loads((self._folder.path / STAGED).read_text())
        except (OSError, ValueError):
            return
        try:
            session = self._session
            staging.open_staging(
                kind, session.configuration, session.web, self._folder.path, name
            ).remove()
        except (HadoopError, OSError, SchedulerError) as error:
            self._tell(f"what was staged for the job at {name} cannot be removed: {error}")
            return
        (self._folder.path / STAGED).unlink(missing_ok=True)

    def _tell(self, sentence: str) -> None:
        """Say it once: the job continues."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._say(sentence)
