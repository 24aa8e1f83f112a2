"""What `ps` shows of a worker: `ray::name` for what runs, and what it is while nothing does.

Used by `worker`, `task_runner` and `actor`.  Tasks start tens of thousands of times a second,
mostly the same one: nothing is done while the name stays the same, and a worker rests only after a
moment of quiet.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.machine import process_title

# Many times the pause between two calls that are made one after the other.
QUIET_S = 0.005
IDLE = "rayhpc worker (idle)"


class Title:
    """The title of one worker, which rests from the start.

    Args:
        show: gives the process a title.

    Attributes:
        name: what it names; None: it rests.
    """

    def __init__(self, show: Callable[[str], None] = process_title.show) -> None:
        self._show = show
        self._resting = IDLE
        self.name: str | None = None
        self.rest()

    def run(self, name: str) -> None:
        """A task or call of that name starts."""
        if name != self.name:
            self.name = name
            self._show(f"ray::{name}")

    def rest(self) -> None:
        """Nothing has run for a moment."""
        self.name = None
        self._show(self._resting)

    def belong_to(self, class_name: str) -> None:
        """Be an actor of that class for good."""
        self._resting = f"ray::{class_name}"
        self.rest()
