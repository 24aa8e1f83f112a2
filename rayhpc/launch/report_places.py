"""Where rank 0 puts what the program did, and the report of it.

Used by `report_maker`.  The job's folder, if this node sees it; a file that the user has named;
where the batch system keeps a job's own files, for the commands that fetch them; or, for a job
whose script the user has submitted, the program's directory, where the job's output is as well.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.batch.folder import JobFolder
from rayhpc.launch.run_context import JOB_FOLDER

if TYPE_CHECKING:
    from rayhpc.launch.run_context import RunContext


@dataclass(frozen=True)
class Places:
    """Where they are.

    Attributes:
        recording: what the program did.
        report: the report; None: the command that follows the job makes it.
        keeps: whether the recording stays, whatever becomes of the report.
        at_any_length: whether there is something to write although the program was short.
        waits: whether the report is waited for, however long it takes.
        mode: who may read the recording.
        late: who makes the report if there is no time for it here.
    """

    recording: Path
    report: Path | None
    keeps: bool
    at_any_length: bool
    waits: bool = False
    mode: int = 0o600
    late: str = "the command that follows this job has it made, or `rayhpc report` makes it"


def find(run: RunContext) -> Places | None:
    """Those of this run; None: nobody would look anywhere."""
    folder, wanted = _job_folder(run), run.options.report
    if folder is not None:
        report = Path(wanted) if wanted else folder.report
        return Places(folder.recording, report, keeps=True, at_any_length=True)
    if wanted:
        report = Path(wanted)
        recording = report.with_name(f".{report.name}.recording.{os.getpid()}")
        return Places(recording, report, keeps=False, at_any_length=True, waits=True)
    system = run.place.system
    fetched = system.fetched_files(run.environ)
    if fetched is not None:
        # The group is the batch system's own, which shows it to the job's user alone.
        recording = fetched / JobFolder.RECORDING
        return Places(recording, None, keeps=True, at_any_length=True, mode=0o640)
    if not run.place.job or not system.is_inside(run.environ):
        return None
    name = f"rayhpc-report-{_name(run)}"
    return Places(
        Path(f"{name}.recording").absolute(),
        Path(f"{name}.html").absolute(),
        keeps=False,
        at_any_length=False,
        late=f"`rayhpc report --recording {name}.recording` makes it",
    )


def _job_folder(run: RunContext) -> JobFolder | None:
    path = run.environ.get(JOB_FOLDER, "")
    if not path:
        return None
    task = run.place.system.array_task(run.environ)
    return JobFolder(Path(path), int(task) if task else None)


def _name(run: RunContext) -> str:
    """The job's number and, where a job has several steps or starts, which of them this was."""
    return run.role.name.removesuffix(".0").removesuffix(".0")
