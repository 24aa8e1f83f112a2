"""What every way from rank 0 to the other ranks can do.

Implemented by `rendezvous` (a shared directory) and `mpi_channel` (MPI itself); used by the ranks,
which need not know which of them it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from rayhpc.launch.rendezvous import Record, Report


class Channel(Protocol):
    """The key's way to the other nodes, and their reports' way back."""

    def prepare(self) -> None:
        """Rank 0, first: remove what an earlier start left.  Raises LaunchError."""

    def publish(self, record: Record) -> None:
        """Rank 0: tell the others.  Raises LaunchError."""

    def reports(self) -> Mapping[int, Report]:
        """Rank 0: what ranks that cannot start say, by rank."""

    def withdraw(self) -> None:
        """Rank 0: everybody has come; leave no secret lying about."""

    def leave(self) -> None:
        """Rank 0: it is over."""

    def wait(self, timeout_s: float, after: float, pause: Callable[[float], None]) -> Record:
        """The others: a record written later than `after`.  Raises LaunchError."""

    def report(self, report: Report) -> None:
        """The others: I cannot start."""
