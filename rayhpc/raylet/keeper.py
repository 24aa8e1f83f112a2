"""What the raylet of the head's node asks of whoever keeps the head's process.

Implemented by `launch.head_keeper`, driven by `main`'s loop.  Declares names only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Keeper(Protocol):
    """Starts the head again when it has ended."""

    def attach(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        on_given_up: Callable[[str], None],
    ) -> None:
        """Begin, watching descriptors; `on_given_up` is told why it is not started again."""

    def children(self) -> frozenset[int]:
        """The head's process, which is nobody else's to end."""

    def deadline(self) -> float:
        """When `on_time` must be called; infinity: never."""

    def on_time(self) -> None:
        """Do what is due."""

    def resume(self) -> str:
        """Start the head because the user asks; returns why not (empty: it is done)."""
