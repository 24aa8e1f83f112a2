"""The deadline by which a cluster must be ready; a signal aborts the start.

Used by every part of `launch` that waits for others.
"""

from __future__ import annotations

import signal
import time

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.machine.signals import Signals


class Startup:
    """The time left until a cluster must be ready; a signal aborts.

    Args:
        signals: where signals arrive.
        deadline: on the monotonic clock, in seconds.
    """

    def __init__(self, signals: Signals, deadline: float) -> None:
        self.signals = signals
        self._deadline = deadline

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def pause(self, seconds: float, *descriptors: int) -> None:
        """Wait this long, or until a descriptor is readable.

        Raises:
            LaunchError: a signal told us to end.
        """
        for arrival in self.signals.wait(seconds, *descriptors):
            if arrival.number != signal.SIGUSR2:
                raise LaunchError(f"cancelled by {arrival.name} while starting", ExitCode.CANCELLED)
