"""The interface between rank 0 and the other ranks during start.

Implemented by `rendezvous` (a shared directory) and `mpi_channel` (MPI itself); used by the ranks,
which need not know which one it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from rayhpc.launch.rendezvous import Record, Report


class Channel(Protocol):
    """Carries the key to the other nodes, and their reports back."""

    def prepare(self) -> None:
        """Rank 0, first: remove what an earlier start left behind.  Raises LaunchError."""

    def publish(self, record: Record) -> None:
        """Rank 0: tell the others.  Raises LaunchError."""

    def reports(self) -> Mapping[int, Report]:
        """Rank 0: the reports of ranks that cannot start, by rank."""

    def withdraw(self) -> None:
        """Rank 0: all have joined; leave no secret behind."""

    def leave(self) -> None:
        """Rank 0: it is over."""

    def wait(self, timeout_s: float, after: float, pause: Callable[[float], None]) -> Record:
        """Other ranks: a record written later than `after`.  Raises LaunchError."""

    def report(self, report: Report) -> None:
        """Other ranks: I cannot start."""
