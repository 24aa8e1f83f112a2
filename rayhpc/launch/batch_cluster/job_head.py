"""A head that is a batch job of its own: submitted, watched and ended like any job of the user's.

Made by `heads`.  `rayhpc jobs`, `logs` and `explain` know the job as well.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rayhpc.batch import folder as job_folders
from rayhpc.batch.folder import JobFolder, JobRecord
from rayhpc.batch.job_status import State
from rayhpc.batch.registry import system
from rayhpc.batch.rendering import inside
from rayhpc.batch.request import JobRequest
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.batch_cluster.head import Condition, Head, Launch, Phase
from rayhpc.machine import whole_file

# In the cluster's folder: the path of the folder of the head's job.
POINTER = "head.job"


class JobHead(Head):
    """A head in a job.

    Args:
        folder: the cluster's folder.
        system_name: the batch system.
        fields: of the request for its job, by name.
    """

    def __init__(self, folder: Path, system_name: str, fields: Mapping[str, Any]) -> None:
        super().__init__(folder)
        self._system_name, self._fields = system_name, fields
        self._jobs = system(system_name).jobs()
        self.where = f"in a job of {self._jobs.system.title}"

    def start(self, launch: Launch) -> None:
        """Submit it."""
        request = JobRequest(
            (),
            run_words=launch.words,
            setup=launch.setup,
            job_name=f"rayhpc-{launch.name}-head",
            report=False,
            work_dir=launch.work_dir,
            **self._fields,
        )
        folder = job_folders.create(job_folders.jobs_base(os.environ))
        record = JobRecord(
            scheduler=self._system_name,
            name=request.name,
            command=["rayhpc", "up", launch.name],
            nodes=1,
            submitted=time.time(),
            rayhpc=inside(request),
        )
        folder.set_record(record)
        try:
            script = self._jobs.render(request, folder)
            whole_file.write(self.folder / POINTER, f"{folder.path}\n".encode())
            folder.set_id(self._jobs.submit(request, folder, script))
        except LaunchError:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise

    def condition(self) -> Condition:
        """What the batch system says."""
        folder = self._job()
        if folder is None:
            return Condition(Phase.GONE)
        found = self._jobs.status([folder]).get(folder.record().id)
        if found is None:
            return Condition(Phase.GONE, f"job {folder.record().id} is not known any more")
        if found.state is State.PENDING:
            return Condition(Phase.WAITING, f"job {found.id} is pending: {found.reason}")
        if found.state.ended:
            why = f": {found.reason}" if found.reason else ""
            return Condition(Phase.GONE, f"job {found.id} has ended ({found.word}){why}")
        note = self.note()
        serves = note is not None and note.job == found.id and not found.closing
        return Condition(Phase.RUNNING if serves else Phase.STARTING, f"job {found.id}")

    def command(self, words: Sequence[str], *, terminal: bool) -> list[str]:
        """A step beside it."""
        folder = self._job()
        if folder is None:
            raise LaunchError("the cluster has no head: `rayhpc up` starts it", ExitCode.HEAD_LOST)
        return self._jobs.on_head(folder, list(words), terminal)

    def stop(self) -> None:
        """Cancel its job."""
        folder = self._job()
        if folder is not None and folder.record().id:
            self._jobs.cancel([folder])

    def log(self) -> Path:
        """Its job's standard error."""
        folder = self._job()
        return Path(os.devnull) if folder is None else folder.output("stderr")

    def explain(self) -> list[str]:
        """As `rayhpc explain` does for a job."""
        if self.condition().phase is Phase.RUNNING:
            return []
        return self.told()

    def told(self) -> list[str]:
        """The same, of one that runs, too: what its batch system says about it."""
        folder = self._job()
        if folder is None:
            return []
        found = self._jobs.explain(folder)
        return [*found.why, *found.sooner]

    def _job(self) -> JobFolder | None:
        """The folder of its job, if one has been submitted."""
        try:
            path = Path((self.folder / POINTER).read_text().strip())
        except OSError:
            return None
        if not (path / "job.json").is_file():
            return None
        folder = JobFolder(path)
        return folder if folder.record().id else None
