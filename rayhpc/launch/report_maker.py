"""Rank 0's last work: record what the program did, and have the report made, in at most a second.

Used by `head_rank`.  The cluster is asked while it still runs; the report is made by a separate
process while the cluster ends.  If it is not done in time, a recording stays in the job's folder,
from which `cli.late_report` or `rayhpc report` makes the report later: what this rank left behind
would be killed with the job.  Never fails the job.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rayhpc.exit_codes import LaunchError
from rayhpc.launch import report_places, report_process
from rayhpc.launch.report_places import Places
from rayhpc.launch.report_process import LONG_S

if TYPE_CHECKING:
    from rayhpc.launch.run_context import RunContext

# How long the exit code is delayed by all of this together: less than the second that is promised.
WITHIN_S = 0.9
_ASKING_S = 0.6


class ReportMaker:
    """The process that makes one report.

    Args:
        process: the process.
        places: where the report will be, and what it is made from.
        began: when the exit code began to wait, of the monotonic clock.
    """

    def __init__(self, process: subprocess.Popen[bytes], places: Places, began: float) -> None:
        self._process = process
        self._places = places
        self._deadline = None if places.waits else began + WITHIN_S

    @classmethod
    def begin(
        cls, run: RunContext, session_dir: str, code: int, began: float
    ) -> ReportMaker | None:
        """Record what the program did; None if no report is made here, or nothing is known.

        Args:
            run: this run.
            session_dir: of this node's session.
            code: the program's exit code.
            began: when it started, in seconds since 1970.
        """
        ended, clock = time.time(), time.monotonic()
        places = report_places.find(run) if run.options.records and session_dir else None
        is_long = ended - began >= LONG_S
        if places is None or not (is_long or places.at_any_length):
            return None
        try:
            _record(run, session_dir, code, began, ended, places)
        except (LaunchError, OSError) as error:
            run.progress.note(f"there will be no report of this program: {error}")
            return None
        if places.report is None or not (is_long or run.options.report):
            return None
        process = report_process.start(places.recording, places.report)
        return cls(process, places, clock)

    def finish(self, say: Callable[[str], None]) -> None:
        """Wait for the report for the rest of its time, and say where it is."""
        places, left = self._places, None
        if self._deadline is not None:  # the cluster's own end is part of it
            left = max(0.0, self._deadline - time.monotonic())
        try:
            code = self._process.wait(left)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            say(f"its report takes longer than a second: {places.late}")
            return
        if not places.keeps:
            places.recording.unlink(missing_ok=True)
        say(f"report in {places.report}" if code == 0 else "its report could not be made")


def _record(
    run: RunContext, session_dir: str, code: int, began: float, ended: float, places: Places
) -> None:
    from rayhpc.launch.last_look import take_down
    from rayhpc.launch.node_config import rayhpc_version
    from rayhpc.launch.observer import Observer
    from rayhpc.observe import recording

    allocation = run.place.allocation
    job = recording.JobFacts(
        command=list(run.options.command),
        started=began,
        ended=ended,
        exit_code=code,
        asked_nodes=run.role.nodes,
        time_limit=allocation.end_time.value or 0.0,
        scheduler=allocation.scheduler.value,
        id=run.place.job,
        version=rayhpc_version(),
    )
    with Observer(session_dir) as observer:
        found = take_down(observer, job, _ASKING_S)
    recording.write(found, places.recording, places.mode)
