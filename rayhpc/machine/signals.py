"""Waits for signals together with children, descriptors and timeouts.

Used by `launch` and `batch.local`, in the main thread.  Signals are blocked and read from a
descriptor (signalfd(2)), which also tells who sent them; no handler runs.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from rayhpc.machine.polling import milliseconds

ACTED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)

_SI_KERNEL = 0x80
_SIGSET_BYTES = 128
_SIGINFO_BYTES = 128
_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
# The first fields of struct signalfd_siginfo: number, errno, code, the sender's pid.
_FIELDS = struct.Struct("=IiiI")


@dataclass(frozen=True)
class Arrival:
    """A signal that has arrived; `sender` is 0 if it is outside this PID namespace."""

    number: int
    from_terminal: bool
    sender: int

    @property
    def name(self) -> str:
        """The signal's name, such as SIGTERM."""
        return signal.Signals(self.number).name


class Signals:
    """A context manager that receives signals while active."""

    def __init__(self, numbers: Iterable[int] = ACTED_ON) -> None:
        self._numbers = {*numbers, int(signal.SIGCHLD)}
        self._descriptor = -1
        self._before: set[int] = set()

    def __enter__(self) -> Signals:
        self._descriptor = _signalfd(self._numbers)
        self._before = {int(x) for x in signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)}
        return self

    def __exit__(self, *_: object) -> None:
        self._read()  # pending signals would otherwise act now
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
        os.close(self._descriptor)

    def wait(self, timeout_s: float | None, *descriptors: int) -> list[Arrival]:
        """Wait for a signal, a child's end, a readable descriptor or the timeout.

        Returns:
            The signals that have arrived, without SIGCHLD.
        """
        poll = select.poll()
        for descriptor in (self._descriptor, *descriptors):
            poll.register(descriptor, select.POLLIN)
        poll.poll(None if timeout_s is None else milliseconds(timeout_s))
        return [each for each in self._read() if each.number != signal.SIGCHLD]

    def _read(self) -> list[Arrival]:
        try:
            data = os.read(self._descriptor, 64 * _SIGINFO_BYTES)
        except BlockingIOError:
            return []
        found = []
        for start in range(0, len(data), _SIGINFO_BYTES):
            number, _, code, sender = _FIELDS.unpack_from(data, start)
            found.append(Arrival(number, code == _SI_KERNEL, sender))
        return found


def take_all_again() -> None:
    """For a process that starts: unblock whatever its parent had blocked."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def default_in_child() -> None:
    """For a child before it executes its program: signals as a shell would leave them."""
    # Python ignores it; most programs expect to be killed when nobody reads their output.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    take_all_again()


def _signalfd(numbers: Iterable[int]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    mask = ctypes.create_string_buffer(_SIGSET_BYTES)
    libc.sigemptyset(mask)
    for number in numbers:
        libc.sigaddset(mask, int(number))
    descriptor: int = libc.signalfd(-1, mask, _FLAGS)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "signalfd failed")
    return descriptor
