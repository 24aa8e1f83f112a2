"""The threads of a worker's process: the main one, which runs tasks, and how it is interrupted.

Passed to `worker` by `main`; the simulation passes threads of its own instead.  Decides nothing.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from typing import Protocol

from rayhpc.runtime.process.garbage import collect_apart
from rayhpc.runtime.process.interrupts import inside, outside
from rayhpc.runtime.worker.actor_calls import Lanes
from rayhpc.runtime.worker.host import Host
from rayhpc.runtime.worker.title import Title


class Threads(Protocol):
    """What a worker needs from its threads.

    Attributes:
        pid: the process's pid.
        title: what `ps` shows for it.
    """

    pid: int
    title: Title

    def is_main(self) -> bool:
        """Whether the calling thread is the main one."""

    def interrupt_main(self) -> None:
        """Interrupt the main thread if it is in user code, or else when it enters it."""

    def forget_interrupt(self) -> None:
        """The task for which the main thread was interrupted has ended (main thread)."""

    def asked(self) -> bool:
        """Whether the calling thread waits in vain: it is to be interrupted."""

    def lanes(self, host: Host) -> Lanes | None:
        """Where an actor's calls run; None: in the main thread, one by one."""

    def collect_garbage(self) -> None:
        """Run the garbage collector in a separate thread."""

    def run_exit_handlers(self) -> None:
        """Call what user code has registered with `atexit` (main thread)."""

    def end_process(self) -> None:
        """End the process at once."""


class ProcessThreads:
    """The threads of a real process, created in its main thread.

    Attributes:
        on_signal: called in the main thread by the interrupt's signal: whether it still applies.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.title = Title()
        self.on_signal: Callable[[], bool] = lambda: False
        self._main = threading.get_ident()
        signal.signal(signal.SIGURG, lambda *_: self._on_signal())

    def take_sigterm(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when SIGTERM comes; in forks of this process it ends them again."""

        def on_sigterm(*_: object) -> None:
            if os.getpid() == self.pid:
                tell()
            else:  # it came before `restore`
                restore()
                os.kill(os.getpid(), signal.SIGTERM)

        def restore() -> None:
            if signal.getsignal(signal.SIGTERM) is on_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

        signal.signal(signal.SIGTERM, on_sigterm)
        os.register_at_fork(after_in_child=restore)

    def is_main(self) -> bool:
        """Whether the calling thread is the main one."""
        return threading.get_ident() == self._main

    def interrupt_main(self) -> None:
        """Interrupt the main thread if it is in user code, or else when it enters it."""
        signal.pthread_kill(self._main, signal.SIGURG)

    def forget_interrupt(self) -> None:
        """The task for which the main thread was interrupted has ended (main thread)."""
        inside.forget()

    def asked(self) -> bool:
        """Whether the calling thread waits in vain: it is to be interrupted."""
        return inside.asked()

    def lanes(self, host: Host) -> Lanes | None:
        """Where an actor's calls run; None: in the main thread, one by one."""
        spec = host.spec
        if spec.is_async:
            from rayhpc.runtime.worker.loop_lanes import LoopLanes

            return LoopLanes(host)
        if spec.max_concurrency > 1 or spec.groups:
            from rayhpc.runtime.worker.thread_lanes import ThreadLanes

            return ThreadLanes(host)
        return None

    def collect_garbage(self) -> None:
        """Run the garbage collector in a separate thread."""
        collect_apart()

    def run_exit_handlers(self) -> None:
        """Call what user code has registered with `atexit` (main thread)."""
        with outside:
            atexit._run_exitfuncs()

    def end_process(self) -> None:
        """End the process at once."""
        os._exit(0)

    def _on_signal(self) -> None:
        if self.on_signal():
            inside.interrupt()
