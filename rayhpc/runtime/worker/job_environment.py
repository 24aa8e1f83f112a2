"""Adapts a worker's process to a lease: the job's modules and folder, its GPUs, its threads.

Used by `worker` before the first task of a lease and by `actor` before a constructor, in the main
thread.  Never touches a socket.
"""

from __future__ import annotations

import logging
import os
import sys

from rayhpc.runtime.process import job_setup
from rayhpc.runtime.worker import setup_hook
from rayhpc.wire.messages.common import UNIT, Grant, JobConfig

logger = logging.getLogger("rayhpc")

# BLAS and OpenMP read these when they are first loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# As in Ray: with this prefix set, the variable that selects GPUs is left alone.
NOT_SET = "RAY_EXPERIMENTAL_NOSET_"
# As in Ray: with "0", that variable is left alone if a task or actor has no GPU.
SET_ON_ZERO = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"


class JobEnvironment:
    """The job and the grant in effect in this process.

    Args:
        gpu_variable: the environment variable with the GPUs a program may see; empty: none here.
    """

    def __init__(self, gpu_variable: str) -> None:
        self._gpu_variable = gpu_variable
        self._threads = _threads_to_set()
        self._jobs: dict[int, JobConfig] = {}
        self._job = 0
        self._grant: Grant | None = None

    def learn(self, job: JobConfig) -> None:
        """The raylet says what a job needs."""
        self._jobs[job.number] = job

    def knows(self, job: int) -> bool:
        """Whether the job is known."""
        return job in self._jobs

    def job(self, number: int) -> JobConfig:
        """A known job."""
        return self._jobs[number]

    def is_in_force(self, grant: Grant) -> bool:
        """Whether nothing needs to change for this grant."""
        return grant is self._grant

    def enter(self, grant: Grant) -> None:
        """Apply the grant; its job must be known."""
        if self._job != grant.job:
            self._enter_job(self._jobs[grant.job])
        setup_hook.run()
        self._show_gpus(grant.devices.get("GPU", []))
        threads = max(1, grant.resources.get("CPU", 0) // UNIT)
        for variable in self._threads:
            os.environ[variable] = str(threads)
        self._grant = grant

    def _show_gpus(self, ids: list[str]) -> None:
        variable = self._gpu_variable
        if not variable or os.environ.get(NOT_SET + variable, "").lower() in ("1", "true"):
            return
        if ids or os.environ.get(SET_ON_ZERO, "").lower() not in ("0", "false"):
            os.environ[variable] = ",".join(ids)

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
                logger.warning("the driver's working directory does not exist here: %s", error)


def _threads_to_set() -> list[str]:
    """The variables that the user has not set; OMP_NUM_THREADS counts for all of them."""
    if "OMP_NUM_THREADS" in os.environ:
        return []
    return [x for x in THREAD_VARIABLES if x not in os.environ]
