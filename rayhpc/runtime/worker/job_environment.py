"""What a lease makes of a worker's process: the job's modules and folder, its GPUs, its threads.

Used by `worker` before the first task of a lease and by `actor` before a constructor, in the
main thread.  Never touches a socket.
"""

from __future__ import annotations

import logging
import os
import sys

from rayhpc.runtime.process import job_setup
from rayhpc.wire.messages.common import UNIT, Grant, JobConfig

logger = logging.getLogger("rayhpc")

# What BLAS and OpenMP read when they are first loaded; what the user has set stays.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GIVEN_THREADS = frozenset(x for x in THREAD_VARIABLES if x in os.environ)


class JobEnvironment:
    """The job and the grant that are in force in this process.

    Args:
        gpu_variable: the environment variable with the GPUs a program may see; empty: none here.
    """

    def __init__(self, gpu_variable: str) -> None:
        self._gpu_variable = gpu_variable
        self._jobs: dict[int, JobConfig] = {}
        self._job = 0
        self._grant: Grant | None = None

    def learn(self, job: JobConfig) -> None:
        """The raylet tells what a job needs."""
        self._jobs[job.number] = job

    def knows(self, job: int) -> bool:
        """Whether the job has been told."""
        return job in self._jobs

    def job(self, number: int) -> JobConfig:
        """A job that has been told."""
        return self._jobs[number]

    def is_in_force(self, grant: Grant) -> bool:
        """Whether nothing need change for this grant."""
        return grant is self._grant

    def enter(self, grant: Grant) -> None:
        """Be what the grant says; its job must be known."""
        if self._job != grant.job:
            self._enter_job(self._jobs[grant.job])
        if self._gpu_variable:
            os.environ[self._gpu_variable] = ",".join(grant.devices.get("GPU", ()))
        threads = max(1, grant.resources.get("CPU", 0) // UNIT)
        for variable in THREAD_VARIABLES:
            if variable not in _GIVEN_THREADS:
                os.environ[variable] = str(threads)
        self._grant = grant

    def _enter_job(self, job: JobConfig) -> None:
        self._job = job.number
        for folder in reversed(job.path):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        if job.setup:
            job_setup.run(job.setup)
        if job.folder:
            try:
                os.chdir(job.folder)
            except OSError as error:
                logger.warning("the driver's folder is not here: %s", error)
