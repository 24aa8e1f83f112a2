"""From an environment to an allocation.

Called once by every rank and by `doctor`.  The machine's facts are passed in, so that recorded
environments of real schedulers can be its tests.
"""

from __future__ import annotations

from collections.abc import Mapping

from rayhpc.allocation import explicit, mpi
from rayhpc.allocation.allocation import Allocation
from rayhpc.batch.registry import system, systems
from rayhpc.batch.system import BatchSystem
from rayhpc.machine.facts import MachineFacts


def around(environ: Mapping[str, str]) -> BatchSystem:
    """The batch system whose allocation this process runs in; `local` if there is none."""
    return next((each for each in systems(environ) if each.is_inside(environ)), system("local"))


def detect(
    environ: Mapping[str, str],
    machine: MachineFacts,
    *,
    rank: int | None = None,
    size: int | None = None,
) -> Allocation:
    """What was granted to this process, and by what; `rank` and `size` are given by the user.

    Raises ValueError, naming the variable or option, for invalid values.
    """
    found = around(environ).facts(environ, machine)
    if rank is None and size is None:
        found = mpi.overlay(found, environ)
        _check(found)
    return explicit.overlay(found, rank, size)


def _check(found: Allocation) -> None:
    rank, size = found.rank, found.size
    if not 0 <= rank.value < size.value:
        raise ValueError(
            f"{rank.source} says rank {rank.value} and {size.source} says {size.value} ranks; "
            "pass --rank and --size"
        )
