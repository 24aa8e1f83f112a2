"""Signals as things to be waited for, beside children and time.

Used by `run` and by `start --block`.  The handlers only note the number; what is done about it is
done in the main loop.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Iterable

from rayhpc.launch.exit_codes import ExitCode, LaunchError

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


class Signals:
    """Collects signals while it is in force (a context manager); for the main thread."""

    def __init__(self, numbers: Iterable[int] = FORWARDED) -> None:
        self._numbers = (*numbers, signal.SIGCHLD)
        self._arrived: deque[int] = deque()
        self._before: dict[int, object] = {}
        self._wakeup_before = -1
        self._read = self._write = -1

    def __enter__(self) -> Signals:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read)
        os.close(self._write)

    def wait(self, timeout_s: float | None, *descriptors: int) -> list[int]:
        """Wait for a signal, the end of a child, a readable descriptor or the end of the time.

        Returns:
            The signals that have come, without SIGCHLD.
        """
        if not self._arrived:
            select.select([self._read, *descriptors], [], [], timeout_s)
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass
        found = []
        while self._arrived:
            found.append(self._arrived.popleft())
        return [number for number in found if number != signal.SIGCHLD]

    def _note(self, number: int, frame: object) -> None:
        self._arrived.append(number)


def default_in_child() -> None:
    """For a child before it executes its program: signals as a shell would leave them."""
    for number in (*FORWARDED, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    # Python itself ignores it; most programs expect to end when nobody reads their output.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


class Startup:
    """The time until a cluster must be ready; a signal in it gives up.

    Args:
        signals: where signals are noted.
        deadline: on the monotonic clock, in seconds.
    """

    def __init__(self, signals: Signals, deadline: float) -> None:
        self.signals = signals
        self._deadline = deadline

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def pause(self, seconds: float, *descriptors: int) -> None:
        """Wait so long, or until a descriptor is readable.

        Raises:
            LaunchError: a signal told us to end.
        """
        for number in self.signals.wait(seconds, *descriptors):
            if number != signal.SIGUSR2:
                name = signal.Signals(number).name
                raise LaunchError(f"cancelled by {name} while starting", ExitCode.CANCELLED)
