"""Signals in a form that can be polled: a descriptor that is readable once we are told to end.

Used by the ApplicationMaster, whose only thread waits in `poll`.
"""

from __future__ import annotations

import os
import signal
from types import TracebackType

_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Wakeup:
    """While active, signals that end a process, and SIGCHLD, only write to `fd`'s pipe."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def told_to_end(self) -> bool:
        """Whether one of the signals since the last call ends a process; call it when `fd` is
        readable.
        """
        try:
            numbers = os.read(self.fd, 4096)
        except BlockingIOError:
            return False
        return any(number in _ENDINGS for number in numbers)

    def __enter__(self) -> Wakeup:
        self._before = {
            number: signal.signal(number, lambda *_: None) for number in (*_ENDINGS, signal.SIGCHLD)
        }
        self._before_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._before_fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self.fd)
        os.close(self._write)
