"""What the ranks of `rayhpc run` need from a cluster's runtime, whichever it is.

Implemented by `own` and `real_ray`; `choose` makes the one that the user names with `--engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rayhpc.batch.request import ENGINES
from rayhpc.launch.rendezvous import Record

if TYPE_CHECKING:
    from rayhpc.batch.system import Resizer
    from rayhpc.launch.elastic import Growing

NAMES = OWN, REAL_RAY = ENGINES


@dataclass(frozen=True)
class Joined:
    """The nodes that have joined, by number, and sentences about anything odd."""

    nodes: frozenset[int]
    odd: tuple[str, ...] = ()


class Engine(Protocol):
    """This rank's node, from its start to its end."""

    def start_head(self) -> Record:
        """Rank 0: start the node with the head and wait until it serves; returns what others need.

        Raises:
            LaunchError: it cannot start.
        """

    def join(self, record: Record) -> None:
        """Other ranks: start the node and wait until it has joined.

        Raises:
            LaunchError: it cannot; HEAD_LOST: the record's head is gone.
        """

    def address(self) -> str:
        """Rank 0: the head's address in the form that programs expect."""

    def watch(self) -> AbstractContextManager[Callable[[], Joined]]:
        """Rank 0: a function to ask repeatedly who has joined."""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Rank 0: `environ` with what the program needs to find the cluster."""

    def resize_with(self, resizer: Resizer) -> None:
        """Rank 0: let programs ask `resizer` for nodes, if this runtime can grow and shrink."""

    def grow(self, record: Record) -> Growing | None:
        """Rank 0: add nodes as work waits, if the user wants that; what ends it.

        Raises:
            LaunchError: this runtime, or this batch system, cannot.
        """

    def losses(self) -> list[str]:
        """Rank 0: one sentence for each node that was lost."""

    def session_dir(self) -> str:
        """Rank 0: the session that can be asked what the cluster did; empty: there is none."""

    def poll(self) -> int | None:
        """The node's exit code, or None while it runs."""

    def stop(self) -> int:
        """End the node and wait for it; its exit code.  On rank 0 that ends the cluster."""
