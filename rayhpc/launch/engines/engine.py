"""What the ranks of `rayhpc run` ask of a cluster's runtime, whichever it is.

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

NAMES = OWN, REAL_RAY = ENGINES


@dataclass(frozen=True)
class Joined:
    """The nodes that are there, by number, and sentences about what is odd with them."""

    nodes: frozenset[int]
    odd: tuple[str, ...] = ()


class Engine(Protocol):
    """This rank's node, from before it has a plan to its end."""

    def start_head(self) -> Record:
        """Rank 0: start the node with the head, wait until it serves; what the others must know.

        Raises:
            LaunchError: it cannot start.
        """

    def join(self, record: Record) -> None:
        """The others: start the node and wait until it has joined.

        Raises:
            LaunchError: it cannot; HEAD_LOST: the record is of a head that is gone.
        """

    def address(self) -> str:
        """Rank 0: where the head listens, as programs take it."""

    def watch(self) -> AbstractContextManager[Callable[[], Joined]]:
        """Rank 0: to ask, again and again, who has joined."""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Rank 0: `environ` for the program, which then finds the cluster."""

    def resize_with(self, resizer: Resizer) -> None:
        """Rank 0: have programs ask `resizer` for nodes, if this runtime can grow and shrink."""

    def losses(self) -> list[str]:
        """Rank 0: a sentence for each node that was lost on the way."""

    def session_dir(self) -> str:
        """Rank 0: the session whose cluster can be asked what it did; empty: it cannot."""

    def poll(self) -> int | None:
        """The node's exit code, or None while it runs."""

    def stop(self) -> int:
        """End the node and wait for it; its exit code.  On rank 0 that ends the cluster."""
