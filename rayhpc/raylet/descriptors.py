"""Many descriptors behind a single one, which the raylet polls beside its ZeroMQ sockets.

Used by `main` for workers' pipes, the fork server's channels, attached processes, the life pipe.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

Action = Callable[[], None]


class Descriptors:
    """Calls an action for each descriptor that is readable.

    Args:
        run: calls an action and handles its errors; it is first told what the action is for.

    `fileno` is readable whenever one of them is (an epoll), or another thread has called `wake`;
    `after_wake` is called after each wake-up.
    """

    def __init__(self, run: Callable[[str, Action], object] | None = None) -> None:
        self._run = run or (lambda what, action: action())
        self._epoll = select.epoll()
        self._actions: dict[int, Action] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._woken = False
        self.after_wake: Action | None = None
        self.watch(self._wake_read, self._drain)

    def fileno(self) -> int:
        """The one descriptor to poll."""
        return self._epoll.fileno()

    @property
    def wake_fd(self) -> int:
        """Where a signal handler's wake-up can be written (`signal.set_wakeup_fd`)."""
        return self._wake_write

    def watch(self, descriptor: int, action: Action) -> None:
        """Have `action` called when `descriptor` is readable or has ended."""
        self._actions[descriptor] = action
        self._epoll.register(descriptor, select.EPOLLIN)

    def want_write(self, descriptor: int, wanted: bool) -> None:
        """Have the action called also when the descriptor is writable."""
        if descriptor in self._actions:
            flags = select.EPOLLIN | (select.EPOLLOUT if wanted else 0)
            self._epoll.modify(descriptor, flags)

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch`; call it before the descriptor is closed."""
        if self._actions.pop(descriptor, None) is not None:
            try:
                self._epoll.unregister(descriptor)
            except (OSError, ValueError):
                pass  # already closed: the kernel has removed it

    def serve(self) -> None:
        """Call the actions of all that are ready now."""
        for descriptor, _ in self._epoll.poll(0):
            action = self._actions.get(descriptor)
            if action is not None:
                self._run(f"what came on descriptor {descriptor}", action)

    def wake(self) -> None:
        """Make the loop run once (any thread)."""
        with self._lock:
            if self._woken:
                return
            self._woken = True
        os.write(self._wake_write, b"\0")

    def close(self) -> None:
        """Close its own descriptors."""
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _drain(self) -> None:
        with self._lock:
            self._woken = False
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        if self.after_wake is not None:
            self.after_wake()
