"""Grid Engine as a batch system: detection, its variables inside a job, and how ranks start.

Found by `registry`.  Its submit side is in `jobs`, its variables in `facts`, its step is the shell
function in templates/sge/step.sh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.batch.sge import facts
from rayhpc.batch.steps import step_command
from rayhpc.batch.system import BatchSystem, Sign, Which

if TYPE_CHECKING:
    from rayhpc.batch.sge.jobs import SgeJobs
    from rayhpc.machine.facts import MachineFacts

# Debian's; elsewhere SGE_ROOT is set.
_ROOT = "/var/lib/gridengine"


class Sge(BatchSystem):
    """The batch system `sge`."""

    name = "sge"
    title = "Grid Engine"
    template = "sge/job.sh.j2"
    takes_words = "qsub"
    grace_name = "notify"

    def look(self, environ: Mapping[str, str], which: Which) -> Sign:
        """Whether its programs are on PATH (PBS has a qsub, too) and know a qmaster."""
        qconf = which("qconf")
        if qconf is None or which("qsub") is None:
            return Sign(False)
        master = _common(environ) / "act_qmaster"
        if master.is_file():
            return Sign(True, f"{qconf} and {master} are there")
        return Sign(False, f"{qconf} is there, but {master} is not: see SGE_ROOT and SGE_CELL")

    def jobs(self) -> SgeJobs:
        """Its submit side."""
        from rayhpc.batch.sge.jobs import SgeJobs

        return SgeJobs(self)

    def cluster_name(self, environ: Mapping[str, str]) -> str | None:
        """SGE_CLUSTER_NAME, or the name in the cell's own file."""
        try:
            return environ.get("SGE_CLUSTER_NAME") or (
                (_common(environ) / "cluster_name").read_text().strip() or None
            )
        except (OSError, UnicodeDecodeError):
            return None

    def is_inside(self, environ: Mapping[str, str]) -> bool:
        """Whether a job id is set, and a task number or the mark that there is none."""
        return facts.present(environ)

    def facts(self, environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
        """What Grid Engine tells this process."""
        return facts.read(environ, machine)

    def job_id(self, environ: Mapping[str, str]) -> str:
        """The job id as the user writes it."""
        return facts.job_id(environ) if facts.present(environ) else ""

    def array_task(self, environ: Mapping[str, str]) -> str:
        """SGE_TASK_ID."""
        return facts.task(environ)

    def step_command(
        self, environ: Mapping[str, str], argv: Sequence[str], nodes: int | None = None
    ) -> list[str] | None:
        """The shell's `step`; jobs of one host use it as well, for its signals."""
        if not facts.present(environ) or facts.is_rank(environ) or facts.is_terminal(environ):
            return None
        return step_command(self.name, argv, nodes)

    def grace(self, environ: Mapping[str, str]) -> Fact[float | None]:
        """The queue's `notify`, passed on by the job script."""
        told = environ.get("RAYHPC_NOTIFY_S", "")
        if facts.present(environ) and told.isdigit():
            return Fact(float(told), "notify of the queue")
        return Fact(None, "Grid Engine does not tell a job the queue's notify")


def _common(environ: Mapping[str, str]) -> Path:
    cell = environ.get("SGE_CELL") or "default"
    return Path(environ.get("SGE_ROOT") or _ROOT) / cell / "common"


SYSTEM = Sge()
