"""The time until a cluster must be ready, in which a signal gives up.

Used by every part of `launch` that waits for others.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.machine.signals import Arrival, Signals


class Startup:
    """The time until a cluster must be ready; a signal in it gives up.

    Args:
        signals: where signals arrive.
        deadline: on the monotonic clock, in seconds.
        meaning: what a signal's number stands for (`BatchSystem.meaning`).
    """

    def __init__(
        self,
        signals: Signals,
        deadline: float,
        meaning: Callable[[int], int | None] = lambda number: number,
    ) -> None:
        self.signals = signals
        self._meaning = meaning
        self._deadline = deadline

    def wait(self, timeout_s: float | None, *descriptors: int) -> list[Arrival]:
        """As `Signals.wait`, each signal by what it stands for here."""
        known = []
        for arrival in self.signals.wait(timeout_s, *descriptors):
            number = self._meaning(arrival.number)
            if number is not None:
                known.append(replace(arrival, number=number))
        return known

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def pause(self, seconds: float, *descriptors: int) -> None:
        """Wait so long, or until a descriptor is readable.

        Raises:
            LaunchError: a signal told us to end.
        """
        for arrival in self.wait(seconds, *descriptors):
            if arrival.number != signal.SIGUSR2:
                raise LaunchError(f"cancelled by {arrival.name} while starting", ExitCode.CANCELLED)
