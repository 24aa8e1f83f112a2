"""PBS as a batch system: how it is detected, its variables inside a job, and how ranks start.

Found by `registry`.  Its submit side is in `jobs`, its variables in `facts`, its step is the shell
function in templates/pbs/step.sh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.batch.pbs import facts
from rayhpc.batch.steps import step_command
from rayhpc.batch.system import BatchSystem, Sign, Which

if TYPE_CHECKING:
    from rayhpc.batch.pbs.jobs import PbsJobs
    from rayhpc.machine.facts import MachineFacts

# The client's configuration: OpenPBS's file, or Torque's file with the server's name.
_PLACES = ("/etc/pbs.conf", "/var/spool/torque/server_name", "/var/spool/pbs/server_name")
_VARIABLES = ("PBS_CONF_FILE", "PBS_SERVER", "PBS_DEFAULT")


class Pbs(BatchSystem):
    """The batch system `pbs`."""

    name = "pbs"
    title = "PBS"
    template = "pbs/job.sh.j2"
    takes_words = "PBS's qsub"
    # It signals the whole session of the job's script.
    signals_all = ("pbsdsh",)
    grace_name = "kill_delay"

    def look(self, environ: Mapping[str, str], which: Which) -> Sign:
        """Whether its programs are on PATH (Grid Engine has a qsub, too) and know a server."""
        qsub = which("qsub")
        if qsub is None or which("pbsnodes") is None or which("qconf") is not None:
            return Sign(False)
        known = [name for name in _VARIABLES if environ.get(name)]
        known += [place for place in _PLACES if Path(place).is_file()]
        if known:
            return Sign(True, f"{qsub} and {known[0]} are there")
        return Sign(False, f"{qsub} is there, but no {_PLACES[0]} names a server")

    def jobs(self) -> PbsJobs:
        """Its submit side."""
        from rayhpc.batch.pbs.jobs import PbsJobs

        return PbsJobs(self)

    def is_inside(self, environ: Mapping[str, str]) -> bool:
        """Whether a job id and a list of its hosts are set."""
        return facts.present(environ)

    def facts(self, environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
        """What PBS tells this process."""
        return facts.read(environ, machine)

    def job_id(self, environ: Mapping[str, str]) -> str:
        """The job id as the user writes it."""
        return facts.short_id(environ["PBS_JOBID"]) if facts.present(environ) else ""

    def array_task(self, environ: Mapping[str, str]) -> str:
        """The number in brackets in the job id."""
        return facts.task(environ)

    def step_command(
        self, environ: Mapping[str, str], argv: Sequence[str], nodes: int | None = None
    ) -> list[str] | None:
        """The shell's `step`; jobs of one host use it as well, for its variables."""
        if not facts.present(environ) or facts.is_rank(environ):
            return None
        return step_command(self.name, argv, nodes)

    def grace(self, environ: Mapping[str, str]) -> Fact[float | None]:
        """The queue's kill_delay."""
        return facts.kill_delay(environ)


SYSTEM = Pbs()
