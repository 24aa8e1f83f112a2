"""Ctrl-C and cancellation: an interrupt is raised in user code only, never inside the runtime.

Used by `api` (every entry counts itself in and out with `with inside`, which task and call
submission inlines since it takes 0.3 µs), `driver` (SIGINT) and `worker` (cancel; its threads
count as inside the runtime except in `with outside`, where user code is called).
A handler only sets a flag, or raises where that is safe; an interrupt inside the runtime is raised
when the runtime is left (design section 4, Signals).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType


class _Thread(threading.local):
    """How deep this thread is in the runtime."""

    depth = 0


class Interrupts:
    """Handles interrupts of the main thread.

    Attributes:
        pending: an interrupt came while the main thread was inside the runtime.
        wake_waiters: makes all waiting threads check again; None: nobody can wait here.
    """

    def __init__(self) -> None:
        self.pending = False
        self.wake_waiters: Callable[[], None] | None = None
        self.thread = _Thread()

    def __enter__(self) -> None:
        self.thread.depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.thread.depth -= 1
        if self.pending:
            self.raise_if_left()

    def raise_if_left(self) -> None:
        """Raise a deferred interrupt, if the main thread has left the runtime."""
        if not self.thread.depth and threading.current_thread() is _main:
            self.pending = False
            # Whatever the wait ended with instead does not matter.
            raise KeyboardInterrupt from None

    def interrupt(self) -> None:
        """In the main thread, from a signal handler: raise now, or when the runtime is left."""
        if self.thread.depth:
            self.pending = True
            # It may be waiting, and a poll continues after a signal.
            if self.wake_waiters is not None:
                self.wake_waiters()
        else:
            raise KeyboardInterrupt

    def asked(self) -> bool:
        """Whether the waiting thread is to be interrupted."""
        return self.pending and threading.current_thread() is _main

    def take_sigint(self) -> None:
        """Handle Ctrl-C like this, unless the program has installed its own handler."""
        if threading.current_thread() is not _main:
            return
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_sigint)

    def give_sigint_back(self) -> None:
        """Undo `take_sigint`."""
        if threading.current_thread() is not _main:
            return
        if signal.getsignal(signal.SIGINT) == self._on_sigint:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        self.interrupt()


class UserCode:
    """Marks where a worker's runtime calls user code: interrupts are raised there.

    Args:
        interrupts: what handles them.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        interrupts = self._interrupts
        interrupts.thread.depth -= 1
        if interrupts.pending:
            try:
                interrupts.raise_if_left()
            except KeyboardInterrupt:
                interrupts.thread.depth += 1
                raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._interrupts.thread.depth += 1


_main = threading.main_thread()
inside = Interrupts()
outside = UserCode(inside)
