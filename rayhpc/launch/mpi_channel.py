"""Distributes the key through MPI: rank 0 broadcasts it over COMM_WORLD, without a file.

Used by `run` if mpiexec started the ranks and mpi4py is installed (`pip install rayhpc[mpi]`).
MPI is finalized right after the broadcast, before anything else runs.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.rendezvous import Record, Report

_PAUSE_S = 0.005
_EVERYBODY_S = 60.0
# A record is far smaller; all ranks must agree on a size in advance.
_BYTES = 1 << 16
# What makes a child process believe that it is the same MPI rank as its parent.
_OF_A_RANK = (
    *("PMI_", "PMIX_", "PALS_", "HYDI_", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_"),
    *("OMPI_COMM_WORLD_", "OMPI_WORLD_", "OMPI_UNIVERSE_", "OMPI_NUM_APP_CTX", "OMPI_APP_CTX_"),
    *("OMPI_FILE_LOCATION", "OMPI_MCA_ess", "OMPI_MCA_orte_", "OMPI_MCA_num_procs"),
    *("OMPI_MCA_initial_wdir", "PRTE_MCA_ess"),
)


def is_available() -> bool:
    """Whether mpi4py is installed here; does not import it."""
    return importlib.util.find_spec("mpi4py") is not None


def without_mpi(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for children, which are not the rank: an MPI program would wait for others."""
    return {name: value for name, value in environ.items() if not name.startswith(_OF_A_RANK)}


class MpiChannel:
    """One broadcast among all ranks, with the methods of `rendezvous.Rendezvous`.

    Args:
        finalize: finalize MPI after the broadcast; False: other code in this process uses it.

    Raises:
        LaunchError: MPI cannot start.
    """

    def __init__(self, *, finalize: bool = True) -> None:
        try:
            import mpi4py

            mpi4py.rc.threads = False
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise LaunchError(
                f"mpi4py is installed but its MPI does not load ({error}): name a directory that "
                "all nodes see with --rendezvous instead",
                ExitCode.RENDEZVOUS,
            ) from None
        self._mpi: Any = MPI
        self._world: Any = MPI.COMM_WORLD
        self._finalize = finalize
        self._is_over = False

    def count_nodes(self, is_first_here: bool) -> int:
        """The number of nodes; all ranks must call it together."""
        return int(self._world.allreduce(int(is_first_here)))

    def prepare(self) -> None:
        """Nothing to do: earlier starts leave nothing behind."""

    def publish(self, record: Record) -> None:
        """Send rank 0's record to all others; nothing can be sent to them later."""
        if not self._is_over:
            buffer = bytearray(_BYTES)
            data = msgspec.json.encode(record)
            buffer[: len(data)] = data
            self._broadcast(buffer, _EVERYBODY_S, time.sleep)

    def wait(self, timeout_s: float, after: float, pause: Callable[[float], None]) -> Record:
        """Rank 0's record, on every other rank.

        Raises:
            LaunchError: rank 0 does not take part in time, says that it cannot start, or its head
                has gone since.
        """
        if self._is_over:
            raise LaunchError("the head no longer answers", ExitCode.HEAD_LOST)
        buffer = bytearray(_BYTES)
        self._broadcast(buffer, timeout_s, pause)
        record = msgspec.json.decode(bytes(buffer).rstrip(b"\0"), type=Record)
        if record.error:
            raise LaunchError(record.error, record.code)
        return record

    def report(self, report: Report) -> None:
        """Nothing to do: a rank that cannot start exits, and mpiexec reports it."""

    def reports(self) -> dict[int, Report]:
        """Empty: see `report`."""
        return {}

    def withdraw(self) -> None:
        """Nothing to do: nothing was written."""

    def leave(self) -> None:
        """Nothing to do: nothing was written."""

    def _broadcast(
        self, buffer: bytearray, timeout_s: float, pause: Callable[[float], None]
    ) -> None:
        request = self._world.Ibcast([buffer, self._mpi.BYTE], root=0)
        deadline = time.monotonic() + timeout_s
        while not request.Test():
            if time.monotonic() >= deadline:
                raise LaunchError(
                    f"not all MPI ranks took part within {timeout_s:g} s; see their output",
                    ExitCode.RENDEZVOUS,
                )
            pause(_PAUSE_S)
        self._is_over = True
        if self._finalize:
            self._mpi.Finalize()
