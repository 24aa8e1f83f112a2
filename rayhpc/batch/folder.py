"""One job's private folder: what was submitted, its outcome, and all its output.

    job.json        the user's request and who runs it (written before anything starts)
    script          what the batch system runs
    id              the batch system's id for it
    stdout stderr   the program's output, or stdout.3 stderr.3 for task 3 of an array
    nodes/          one log per node (nodes/3/ for task 3 of an array)
    rendezvous/     where the nodes find each other; empty again once they have
    summary.json    the outcome: exit code and times (summary.3.json for task 3 of an array)
    recording       what its cluster did (recording.3 for task 3 of an array)
    report.html     the same for people (report.3.html)

Created by `rayhpc submit`, read by all commands that name a job.  0700 and 0600 throughout.
Whether a file exists is found out by listing the folder, because NFS caches that a name was
missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rayhpc.batch.errors import OptionError, UnknownJobError
from rayhpc.machine import whole_file

VARIABLE = "RAYHPC_JOB_DIR"


@dataclass(frozen=True)
class JobRecord:
    """What is known about a job from its submission.

    `rayhpc` is the command that starts rayhpc in the job's own environment.  `owner` is the process
    that runs a local job (pid, start time, boot); `id` is empty until the batch system has given
    one.
    """

    scheduler: str
    name: str
    command: list[str]
    nodes: int
    submitted: float
    id: str = ""
    rayhpc: list[str] = field(default_factory=list)
    array: list[int] = field(default_factory=list)
    output: str | None = None
    owner: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """How a job, or one task of an array, ended; times in seconds since 1970."""

    exit_code: int
    started: float
    ended: float
    nodes: str = ""
    restarts: int = 0
    job_id: str = ""


@dataclass(frozen=True)
class JobFolder:
    """A job's folder on disk.  Reading never creates anything.

    With a `task` it is the view of one task of an array: its id (`12_3`), its output, its outcome.
    """

    path: Path
    task: int | None = None
    #: The recording's name, of a job that is no array.
    RECORDING: ClassVar[str] = "recording"

    def of_task(self, task: int) -> JobFolder:
        """The same folder, as seen by one task of the array."""
        return replace(self, task=task)

    @property
    def script(self) -> Path:
        """What the batch system runs."""
        return self.path / "script"

    @property
    def rendezvous(self) -> Path:
        """The private directory where the ranks find each other."""
        return self.path / "rendezvous"

    @property
    def node_logs(self) -> Path:
        """The directory for the nodes' logs."""
        return self.path / "nodes" / ("" if self.task is None else str(self.task))

    @property
    def recording(self) -> Path:
        """What its cluster did, as `rayhpc report` reads it."""
        return self.path / (self.RECORDING + ("" if self.task is None else f".{self.task}"))

    @property
    def report(self) -> Path:
        """What its cluster did, for people."""
        return self.path / ("report.html" if self.task is None else f"report.{self.task}.html")

    def record(self) -> JobRecord:
        """What was submitted.  Raises UnknownJobError if this is not a job's folder."""
        try:
            known = json.loads((self.path / "job.json").read_text())
            record = JobRecord(**{**known, "id": self._id() or known.get("id", "")})
        except (OSError, ValueError, TypeError) as error:
            raise UnknownJobError(f"{self.path} is not the folder of a job: {error}") from error
        if self.task is None:
            return record
        return replace(record, id=f"{record.id}_{self.task}", array=[self.task])

    def set_id(self, job_id: str) -> None:
        """Record the batch system's id."""
        _write(self.path / "id", job_id + "\n")

    def take_local_id(self) -> str:
        """The next free `local-N` among the neighbouring jobs, recorded as this one's."""
        with open(self.path.parent / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = [folder.record().id for folder in folders(self.path.parent)]
            numbers = [int(each[6:]) for each in taken if each.startswith("local-")]
            job_id = f"local-{max(numbers, default=0) + 1}"
            self.set_id(job_id)
        return job_id

    def set_record(self, record: JobRecord) -> None:
        """Write what was submitted."""
        _write(self.path / "job.json", json.dumps(asdict(record), indent=2) + "\n")

    def set_summary(self, summary: Summary) -> None:
        """Write how it ended; for batch systems whose script does not."""
        _write(self.path / "summary.json", json.dumps(asdict(summary)) + "\n")

    def names(self) -> set[str]:
        """The names of all files in it now, read from the directory itself."""
        try:
            return set(os.listdir(self.path))
        except OSError:
            return set()

    def output(self, stream: str = "stdout", task: int | None = None) -> Path:
        """Where `stdout` or `stderr` of the job, or of one task of an array, is written."""
        task = self.task if task is None else task
        record = self.record()
        if record.output and stream == "stdout":
            ended = self.summary(task)
            own = ended.job_id if ended is not None else ""
            return Path(_filled_in(record.output, record, task, own))
        return self.path / (stream if task is None else f"{stream}.{task}")

    def summary(self, task: int | None = None) -> Summary | None:
        """How it ended, or None if it has not.  A damaged summary counts as none."""
        task = self.task if task is None else task
        name = "summary.json" if task is None else f"summary.{task}.json"
        if name not in self.names():
            return None
        try:
            known = json.loads((self.path / name).read_text())
            return Summary(**known)
        except (OSError, ValueError, TypeError):
            return None

    def _id(self) -> str:
        if "id" not in self.names():
            return ""
        return (self.path / "id").read_text().strip()


def jobs_base(environ: Mapping[str, str], told: Path | None = None) -> Path:
    """The directory of all job folders: `told`, RAYHPC_JOBS, or ~/.local/state/rayhpc/jobs."""
    if told is not None:
        return told.absolute()
    if environ.get("RAYHPC_JOBS"):
        return Path(environ["RAYHPC_JOBS"]).absolute()
    state = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "rayhpc" / "jobs"


def create(base: Path) -> JobFolder:
    """A new empty folder, named after the time so that names sort by age.

    Raises OptionError, with a remedy, if it cannot be created.
    """
    name = time.strftime("%Y%m%d-%H%M%S") + "-" + os.urandom(3).hex()
    folder = JobFolder(base / name)
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.path.mkdir(mode=0o700)
        folder.node_logs.mkdir(mode=0o700)
        folder.rendezvous.mkdir(mode=0o700)
    except OSError as error:
        raise OptionError(
            f"the job's folder {folder.path} cannot be created: {error.strerror}; name another, "
            "on a file system that the nodes can see too, with --job-dir"
        ) from error
    return folder


def folders(base: Path) -> list[JobFolder]:
    """All job folders, oldest first."""
    try:
        names = sorted(os.listdir(base))
    except FileNotFoundError:
        return []
    return [JobFolder(base / name) for name in names if (base / name / "job.json").is_file()]


def _filled_in(pattern: str, record: JobRecord, task: int | None, own: str) -> str:
    """A name with sbatch's % placeholders filled in, as far as they are known here.

    Each task of an array has an id of its `own`, which is known once it has ended.
    """
    job = record.id.partition("_")[0]
    known = {"%": "%", "j": own or job, "A": job, "x": record.name}
    known["a"] = "4294967294" if task is None else str(task)
    return re.sub("%(.)", lambda match: known.get(match[1], match[0]), pattern)


def _write(path: Path, text: str) -> None:
    """Write a file atomically, readable only by this user."""
    whole_file.write(path, text.encode())
