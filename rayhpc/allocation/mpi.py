"""The table of MPI launchers: rank and size from Open MPI, MPICH and kin, MVAPICH, PALS and PMIx.

Overrides the scheduler's table: mpiexec inside a SLURM job starts its own daemons with srun, so
its ranks inherit the daemon's SLURM_PROCID instead of their own.  Never imports mpi4py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rayhpc.allocation import variables
from rayhpc.allocation.allocation import LONE, Allocation
from rayhpc.allocation.fact import Candidate, Fact


@dataclass(frozen=True)
class _Flavour:
    rank: str
    size: str
    local_rank: str
    local_size: str


# The first whose rank and size are both set wins.
_FLAVOURS = (
    _Flavour(
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    _Flavour(
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "MV2_COMM_WORLD_LOCAL_SIZE",
    ),
    _Flavour("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    _Flavour("PALS_RANKID", "PALS_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE"),
    _Flavour("PMIX_RANK", "PMIX_SIZE", "PMIX_LOCAL_RANK", "PMIX_LOCAL_SIZE"),
)


def overlay(base: Allocation, environ: Mapping[str, str]) -> Allocation:
    """`base` with the rank and size that an MPI launcher assigned, if one did.

    Raises ValueError naming a variable that cannot be parsed, or if only a rank is known.
    """
    flavour = _flavour(environ)
    if flavour is None:
        return _without_size(base, environ)
    rank = variables.number_or(0, "", environ, flavour.rank)
    size = variables.number_or(1, "", environ, flavour.size)
    if base.launcher.value not in LONE and (rank.value, size.value) == _place(base):
        return base  # the scheduler's own PMI (srun): both agree, and it says more
    local_rank = variables.number(environ, flavour.local_rank)
    local_size = variables.number(environ, flavour.local_size)
    scheduler = base.scheduler
    return replace(
        base,
        scheduler=Fact("mpi", flavour.rank) if scheduler.value == "plain" else scheduler,
        launcher=Fact("mpiexec", flavour.rank, (Candidate(*_pair(base.launcher)),)),
        rank=Fact(rank.value, rank.source, (Candidate(*_pair(base.rank)),)),
        size=Fact(size.value, size.source, (Candidate(*_pair(base.size)),)),
        local_rank=Fact(local_rank.value or 0, local_rank.source),
        local_size=Fact(local_size.value or 1, local_size.source),
        node_index=_node_index(rank.value, size.value, local_size.value),
        num_nodes=_num_nodes(base, size.value, local_size.value),
    )


def _flavour(environ: Mapping[str, str]) -> _Flavour | None:
    for each in _FLAVOURS:
        if environ.get(each.rank) and environ.get(each.size):
            return each
    return None


def _without_size(base: Allocation, environ: Mapping[str, str]) -> Allocation:
    """A bare PMIX_RANK is fine if the scheduler knows the size, and useless otherwise."""
    if environ.get("PMIX_RANK") and base.launcher.value in LONE:
        raise ValueError(
            "PMIX_RANK is set, but nothing says how many ranks there are; pass --rank and --size"
        )
    return base


def _node_index(rank: int, size: int, local_size: int | None) -> Fact[int | None]:
    """Known for certain only with one rank per node, or all on one."""
    if local_size == 1:
        return Fact(rank, "one rank per node")
    if local_size == size:
        return Fact(0, "all ranks are local")
    return Fact(None, "the MPI launcher does not say")


def _num_nodes(base: Allocation, size: int, local_size: int | None) -> Fact[int | None]:
    if base.scheduler.value != "plain":
        return base.num_nodes
    if local_size and local_size in (1, size):
        return Fact(size // local_size, "size over local size")
    return Fact(None, "the MPI launcher does not say")


def _place(base: Allocation) -> tuple[int, int]:
    return base.rank.value, base.size.value


def _pair(fact: Fact[int] | Fact[str]) -> tuple[int | str, str]:
    return fact.value, fact.source
