"""SLURM as a batch system: detection, its variables inside a job, and how its steps start.

Found by `registry`.  Its submit side is in `jobs`, its variables in `facts`, its srun in `step`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.slurm import facts
from rayhpc.batch.system import BatchSystem, Sign, Which

if TYPE_CHECKING:
    from rayhpc.allocation.sizing import NodeSize
    from rayhpc.batch.slurm.jobs import SlurmJobs
    from rayhpc.machine.facts import MachineFacts

_CONF = ("/etc/slurm", "/etc/slurm-llnl", "/run/slurm/conf")
_PING_S = 5.0


class Slurm(BatchSystem):
    """The batch system `slurm`."""

    name = "slurm"
    title = "SLURM"
    template = "slurm/job.sh.j2"
    takes_words = "sbatch"
    signals_all = ("srun",)
    grace_name = "KillWait"

    def look(self, environ: Mapping[str, str], which: Which) -> Sign:
        """Whether sbatch is on PATH and knows a controller."""
        sbatch = which("sbatch")
        if sbatch is None:
            return Sign(False)
        if _is_configured(environ, sbatch):
            return Sign(True, f"{sbatch} is there")
        return Sign(False, f"{sbatch} is there, but SLURM is not configured on this machine")

    def jobs(self) -> SlurmJobs:
        """Its submit side."""
        from rayhpc.batch.slurm.jobs import SlurmJobs

        return SlurmJobs(self)

    def cluster_name(self, environ: Mapping[str, str]) -> str | None:
        """ClusterName, from the configuration file."""
        if environ.get("SLURM_CLUSTER_NAME"):
            return environ["SLURM_CLUSTER_NAME"]
        for folder in ("", *_CONF):
            path = f"{folder}/slurm.conf" if folder else environ.get("SLURM_CONF", "")
            for line in _lines(path):
                key, _, value = line.partition("=")
                if key.strip().lower() == "clustername":
                    return value.split("#")[0].strip()
        return None

    def head_host(self, nodes: str) -> str | None:
        """The first node in a list like `node[1-3]`."""
        from rayhpc.batch.slurm.hostlist import decode_hostlist

        return next(iter(decode_hostlist(nodes)), None)

    def is_inside(self, environ: Mapping[str, str]) -> bool:
        """Whether a job id is set."""
        return facts.present(environ)

    def facts(self, environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
        """What SLURM tells this process."""
        return facts.read(environ, machine)

    def job_id(self, environ: Mapping[str, str]) -> str:
        """SLURM_JOB_ID, which for an array task differs from the id the user sees."""
        return environ.get("SLURM_JOB_ID", "")

    def array_task(self, environ: Mapping[str, str]) -> str:
        """SLURM_ARRAY_TASK_ID."""
        return environ.get("SLURM_ARRAY_TASK_ID", "")

    def step_command(
        self, environ: Mapping[str, str], argv: Sequence[str], nodes: int | None = None
    ) -> list[str] | None:
        """An srun with one task per node."""
        from rayhpc.batch.slurm.step import step_command

        wanted = {"SLURM_JOB_NUM_NODES": str(nodes)} if nodes else {}
        return step_command({**environ, **wanted}, argv)

    def grace(self, environ: Mapping[str, str]) -> Fact[float | None]:
        """KillWait."""
        from rayhpc.batch.slurm.kill_wait import kill_wait

        return kill_wait(environ)

    def advice(
        self, environ: Mapping[str, str], allocation: Allocation, size: NodeSize
    ) -> list[str]:
        """Since 22.05 srun ignores sbatch's --cpus-per-task, so a step may get only one CPU."""
        alone = allocation.local_size.value == 1
        if allocation.launcher.value != "srun" or not alone or size.cpus.source == "--num-cpus":
            return []
        offered = [each for each in allocation.cpus.candidates if each.value is not None]
        most = max(offered, key=lambda each: int(each.value), default=None)
        if most is None or size.cpus.value >= most.value:
            return []
        sentence = (
            f"this step uses {size.cpus.value} of {most.value} CPUs ({size.cpus.source} against "
            f"{most.source}): export SRUN_CPUS_PER_TASK={most.value} before srun, or give it "
            f"--cpus-per-task={most.value}"
        )
        return [sentence]


def _is_configured(environ: Mapping[str, str], sbatch: str) -> bool:
    """Whether SLURM's programs know a controller: from a configuration file, or by asking them.

    With a file that names none, such as a leftover one, they would try for a minute and then fail.
    """
    if environ.get("SLURM_CONF"):
        return _names_a_controller(environ["SLURM_CONF"])
    prefix = Path(os.path.realpath(sbatch)).parent.parent
    places = (*_CONF, str(prefix / "etc"), str(prefix / "etc" / "slurm"))
    there = [path for place in places if (path := Path(place) / "slurm.conf").is_file()]
    if there:
        return any(_names_a_controller(str(path)) for path in there)
    from rayhpc.batch.slurm.commands import attempt

    try:
        return attempt(["scontrol", "ping"], seconds=_PING_S).returncode == 0
    except SchedulerError:
        return False


def _names_a_controller(path: str) -> bool:
    """Whether a configuration file names one; a file it includes may do so, too."""
    words = ("slurmctldhost", "controlmachine", "include")
    return any(line.lower().startswith(words) for line in _lines(path)) or _is_closed(path)


def _is_closed(path: str) -> bool:
    """Whether the file exists but this user may not read it: then SLURM's programs are asked."""
    return os.path.exists(path) and not os.access(path, os.R_OK)


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return [line.strip() for line in file]
    except (OSError, UnicodeDecodeError):
        return []


SYSTEM = Slurm()
