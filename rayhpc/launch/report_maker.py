"""Rank 0's last work: record what the program did, and have the report made, in at most a second.

Used by `head_rank`.  The cluster is asked while it still runs; the report is made by a separate
process while the cluster ends.  If it is not done in time, a recording stays in the job's folder,
from which `cli.late_report` or `rayhpc report` makes the report later: what this rank left behind
would be killed with the job.  Never fails the job.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.batch.folder import JobFolder
from rayhpc.exit_codes import LaunchError
from rayhpc.launch import report_process

if TYPE_CHECKING:
    from rayhpc.launch.run_context import RunContext

# A program that ran for at least this long gets a report automatically.
LONG_S = 60.0
# How long the exit code is delayed by all of this together.
WITHIN_S = 1.0
_ASKING_S = 0.6


class ReportMaker:
    """The process that makes one report.

    Args:
        process: the process.
        report: where the report will be.
        recording: what it is made from.
        is_kept: whether the recording stays afterwards.
        spent: how long the exit code has waited so far, in seconds.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        report: Path,
        recording: Path,
        is_kept: bool,
        spent: float,
    ) -> None:
        self._process = process
        self._report = report
        self._recording = recording
        self._is_kept = is_kept
        self._left = max(0.0, WITHIN_S - spent)

    @classmethod
    def begin(
        cls, run: RunContext, session_dir: str, code: int, began: float
    ) -> ReportMaker | None:
        """Record what the program did; None if no report is wanted, or nothing is known.

        Args:
            run: this run.
            session_dir: of this node's session.
            code: the program's exit code.
            began: when it started, in seconds since 1970.
        """
        ended, clock = time.time(), time.monotonic()
        folder = _job_folder(run)
        wanted = Path(run.options.report) if run.options.report else None
        if not (run.options.records and session_dir and (folder or wanted)):
            return None
        recording = folder.recording if folder is not None else _beside(wanted)
        try:
            _record(run, session_dir, code, began, ended, recording)
        except (LaunchError, OSError) as error:
            run.progress.note(f"there will be no report of this program: {error}")
            return None
        if wanted is None and ended - began < LONG_S:
            return None
        report = wanted or (folder.report if folder is not None else recording)
        process = report_process.start(recording, report)
        return cls(process, report, recording, folder is not None, time.monotonic() - clock)

    def finish(self, say: Callable[[str], None]) -> None:
        """Wait for the report for the rest of its time, and say where it is."""
        try:
            code = self._process.wait(self._left if self._is_kept else None)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            say(
                "its report takes longer than a second: the command that follows this job has it "
                "made, or `rayhpc report` makes it"
            )
            return
        if not self._is_kept:
            self._recording.unlink(missing_ok=True)
        say(f"report in {self._report}" if code == 0 else "its report could not be made")


def _job_folder(run: RunContext) -> JobFolder | None:
    path = run.environ.get("RAYHPC_JOB_DIR", "")
    if not path:
        return None
    task = run.place.system.array_task(run.environ)
    return JobFolder(Path(path), int(task) if task else None)


def _beside(report: Path | None) -> Path:
    assert report is not None
    return report.with_name(f".{report.name}.recording.{os.getpid()}")


def _record(
    run: RunContext, session_dir: str, code: int, began: float, ended: float, path: Path
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
    recording.write(found, path)
