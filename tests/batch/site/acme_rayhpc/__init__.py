"""A site's own batch system: a directory that holds scripts, run one after the other."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rayhpc.allocation import plain
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.batch.folder import JobFolder, Summary
from rayhpc.batch.job_status import Explanation, JobStatus
from rayhpc.batch.rendering import render_job
from rayhpc.batch.request import JobRequest
from rayhpc.batch.system import BatchSystem, Jobs, Sign, Which
from rayhpc.machine.facts import MachineFacts


class Acme(BatchSystem):
    name = "acme"
    title = "Acme"
    template = Path(__file__).parent / "job.sh.j2"
    takes_words = "acmesub"

    def look(self, environ: Mapping[str, str], which: Which) -> Sign:
        return Sign("ACME_QUEUE" in environ, "ACME_QUEUE is set")

    def jobs(self) -> Jobs:
        return AcmeJobs(self)

    def is_inside(self, environ: Mapping[str, str]) -> bool:
        return "ACME_JOB" in environ

    def facts(self, environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
        job = environ["ACME_JOB"]
        return replace(
            plain.read(environ, machine),
            scheduler=Fact("acme", "ACME_JOB"),
            job_id=Fact(job, "ACME_JOB"),
        )


class AcmeJobs(Jobs):
    def render(self, request: JobRequest, folder: JobFolder) -> str:
        return render_job(self.system, request, folder, {})

    def submit(self, request: JobRequest, folder: JobFolder, script: str) -> str:
        queue = Path(os.environ["ACME_QUEUE"])
        queue.mkdir(exist_ok=True)
        job_id = f"a{len(os.listdir(queue)) + 1}"
        path, began = queue / job_id, time.time()
        path.write_text(script)
        with open(folder.output(), "wb") as stdout, open(folder.output("stderr"), "wb") as stderr:
            done = subprocess.run(
                ["bash", str(path)],
                env={**os.environ, "ACME_JOB": job_id},
                stdout=stdout,
                stderr=stderr,
                check=False,
            )
        folder.set_summary(Summary(done.returncode, began, time.time()))
        return job_id

    def status(self, folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
        ends = [(folder.record().id, folder.summary()) for folder in folders]
        return {name: JobStatus.of_summary(name, end) for name, end in ends if end is not None}

    def cancel(self, folders: Sequence[JobFolder]) -> None:
        """They have all ended."""

    def explain(self, folder: JobFolder) -> Explanation:
        return Explanation(["Acme never waits"], [])

    def on_head(self, folder: JobFolder, command: Sequence[str], terminal: bool) -> list[str]:
        return list(command)


SYSTEM = Acme()
