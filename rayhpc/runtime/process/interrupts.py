"""Ctrl-C and cancellation: an interrupt is raised in user code only, never inside the runtime.

Used by `api` (every entry counts itself in and out with `with inside`, which task and call
submission inlines since it takes 0.3 µs), `driver` (SIGINT) and `worker` (cancel; its threads
count as inside the runtime except in `with outside`, where user code is called).
A handler only sets a flag, or raises where that is safe; an interrupt inside the runtime is raised
when the runtime is left (design section 4, Signals).  Signal handlers that the program of a driver
installs itself may raise, too, as those of time limits do: they are put off in the same way.
"""

from __future__ import annotations

# Its `getsignal` takes 40 ns; that of `signal` makes an enum first.
import _signal  # type: ignore[import-not-found]
import signal
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]

# What programs handle; a fault (SIGSEGV) is handled where it happens.
_HANDLED = tuple(
    int(each)
    for each in (
        *(signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2),
        *(signal.SIGHUP, signal.SIGQUIT, signal.SIGVTALRM, signal.SIGPROF, signal.SIGCHLD),
    )
)


class _Thread(threading.local):
    """How deep this thread is in the runtime."""

    depth = 0


class Interrupts:
    """Handles interrupts of the main thread.

    Attributes:
        pending: an interrupt or a signal came while the main thread was inside the runtime.
        wake_waiters: makes all waiting threads check again; None: nobody can wait here.
    """

    def __init__(self) -> None:
        self.pending = False
        self._is_interrupted = False
        # Calls of the program's own signal handlers that were put off, and what one has raised.
        self._put_off: deque[tuple[Handler, int, FrameType | None]] = deque()
        self._error: BaseException | None = None
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
        """Do what was put off, if the main thread has left the runtime: raise an interrupt or what
        a signal handler has raised, and call handlers.
        """
        if self.thread.depth or threading.current_thread() is not _main:
            return
        error: BaseException | None = KeyboardInterrupt() if self._is_interrupted else self._error
        self.forget()
        if error is not None:
            # Whatever the wait ended with instead does not matter.
            raise error from None
        while self._put_off:
            handler, number, frame = self._put_off.popleft()
            self.pending = bool(self._put_off)
            handler(number, frame)

    def forget(self) -> None:
        """Raise nothing for what has come so far; signals still reach their handlers."""
        self._is_interrupted, self._error = False, None
        self.pending = bool(self._put_off)

    def interrupt(self) -> None:
        """In the main thread, from a signal handler: raise now, or when the runtime is left."""
        if not self.thread.depth:
            raise KeyboardInterrupt
        self._is_interrupted = True
        self._end_wait()

    def on_signal(self, handler: Handler, number: int, frame: FrameType | None) -> None:
        """A signal has come for a handler of the program: call it now, or once that is safe."""
        if not self.thread.depth:
            handler(number, frame)
            return
        self._put_off.append((handler, number, frame))
        self._end_wait()

    def may_wait_on(self) -> bool:
        """In a wait that has ended early: call the handlers that were put off; whether none raised
        and nothing else is to be raised, so that the wait goes on.
        """
        if not self._put_off or threading.current_thread() is not _main:
            return False
        try:
            while self._put_off:
                handler, number, frame = self._put_off.popleft()
                self.pending = self._is_interrupted  # a handler may wait, too
                handler(number, frame)
        except BaseException as error:
            self._error = error
            self.pending = True
        return not self.pending

    def _end_wait(self) -> None:
        self.pending = True
        # The main thread may be waiting, and a poll continues after a signal.
        if self.wake_waiters is not None:
            self.wake_waiters()

    def asked(self) -> bool:
        """Whether the waiting thread is to be interrupted."""
        return self.pending and threading.current_thread() is _main

    def take_sigint(self) -> None:
        """Handle Ctrl-C like this, unless the program has installed its own handler."""
        if threading.current_thread() is not _main:
            return
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_sigint)

    def take_handlers(self) -> None:
        """Put off the handlers that the program has installed, from now on, where they would
        interrupt the runtime: half a message handled is a result lost.
        """
        if threading.current_thread() is not _main:
            return
        for number in _HANDLED:
            handler = _signal.getsignal(number)
            if handler is None or type(handler) in _LET_BE or handler == self._on_sigint:
                continue
            if handler is not signal.default_int_handler:
                signal.signal(number, PutOff(self, handler))

    def give_handlers_back(self) -> None:
        """Undo `take_sigint` and `take_handlers`."""
        if threading.current_thread() is not _main:
            return
        if signal.getsignal(signal.SIGINT) == self._on_sigint:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in _HANDLED:
            handler = _signal.getsignal(number)
            if type(handler) is PutOff:
                signal.signal(number, handler.__wrapped__)

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        self.interrupt()


class PutOff:
    """A signal handler of the program, called where the runtime is not in the middle of something.

    It equals the handler itself, which programs compare with and put back.

    Args:
        interrupts: knows when that is.
        handler: the program's.
    """

    def __init__(self, interrupts: Interrupts, handler: Handler) -> None:
        self._interrupts = interrupts
        self.__wrapped__ = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._interrupts.on_signal(self.__wrapped__, number, frame)

    def __eq__(self, other: object) -> bool:
        return bool(self.__wrapped__ == (other.__wrapped__ if type(other) is PutOff else other))

    def __hash__(self) -> int:
        return hash(self.__wrapped__)


# The system's own handlers, which are numbers, and those that are put off already.
_LET_BE = (int, PutOff)


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
            except BaseException:
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
