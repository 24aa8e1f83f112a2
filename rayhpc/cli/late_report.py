"""The report of a long job whose own launcher had no time for it.

Used by the commands that follow a job to its end, on the machine from which it was submitted.  They
exit with the job's exit code meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

from rayhpc.batch.detect import around
from rayhpc.batch.folder import JobFolder
from rayhpc.cli.saying import say
from rayhpc.launch import report_process
from rayhpc.launch.report_process import LONG_S


def begin(folder: JobFolder) -> subprocess.Popen[bytes] | None:
    """Have it made in the background, if one is due, and say where it will be.

    Inside another job a process that goes on would be killed: there only say how to have it made.
    It is no failure of the job if it cannot be started.
    """
    if not _is_due(folder):
        return None
    job = folder.record().id
    process = None
    if around(os.environ).spares_background:
        with contextlib.suppress(OSError):  # login nodes limit processes
            process = report_process.start(folder.recording, folder.report, in_background=True)
    if process is None:
        say(f"`rayhpc report {job}` makes its report, {folder.report}")
        return None
    say(f"its report will be in {folder.report} in a few seconds")
    return process


def _is_due(folder: JobFolder) -> bool:
    """Whether it was long, and has a recording but no report, or one of an earlier run."""
    summary = folder.summary()
    if summary is None or summary.ended - summary.started < LONG_S:
        return False
    names = folder.names()
    if folder.recording.name not in names:
        return False
    if folder.report.name not in names:
        return True
    return folder.report.stat().st_mtime < folder.recording.stat().st_mtime
