"""This machine as a batch system, for when there is no other.

Found by `registry`, last of all.  Its jobs are children of the command that submits them (`jobs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rayhpc.allocation import plain
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.batch.system import BatchSystem, Sign, Which

if TYPE_CHECKING:
    from rayhpc.batch.local.jobs import LocalJobs
    from rayhpc.machine.facts import MachineFacts


class Local(BatchSystem):
    """The batch system `local`."""

    name = "local"
    title = "this machine"
    template = "local/job.sh.j2"
    outlives_submit = False
    spares_background = True

    def look(self, environ: Mapping[str, str], which: Which) -> Sign:
        """It is always available."""
        return Sign(True, "no batch system takes jobs from this machine")

    def jobs(self) -> LocalJobs:
        """Its submit side."""
        from rayhpc.batch.local.jobs import LocalJobs

        return LocalJobs(self)

    def head_host(self, nodes: str) -> str | None:
        """This machine."""
        return None

    def is_inside(self, environ: Mapping[str, str]) -> bool:
        """It has no allocations: a process outside any allocation is on a plain machine."""
        return False

    def facts(self, environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
        """One rank, on this machine."""
        return plain.read(environ, machine)

    def grace(self, environ: Mapping[str, str]) -> Fact[float | None]:
        """Nothing kills it."""
        return Fact(None, "not a batch system's job")


SYSTEM = Local()
