"""The loop that serves one driver or worker, and waiting in it.

Part of `process.Process`, which the simulation creates, too, with a network of its own.  Everything
that touches a socket or a table runs in the thread that leads (`wire.handover`): user threads call
`lead`, `wait_until` and the queues documented in other modules.  Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import msgspec

from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.process.sockets import Sockets
from rayhpc.runtime.values import references
from rayhpc.wire.address import Address


class Loop:
    """Serves one process.

    Args:
        core: receives the messages.
        sockets: where they arrive, and who may touch them.
    """

    def __init__(self, core: Core, sockets: Sockets) -> None:
        self._core = core
        self._sockets = sockets
        sockets.take = core.take
        self._readable: dict[int, Callable[[int], None]] = {}
        self.transport = sockets.transport
        self.handover = sockets.handover

    # -- life ------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the background thread, which serves while nobody waits."""
        wake_leader = self.handover.wake_leader
        self._core.wake_leader = wake_leader
        references.hooks.wake = wake_leader
        self._core.store.wake_leader_with(wake_leader)
        inside.wake_waiters = self.handover.wake_waiters
        self.handover.start(self.pump)

    def close(self) -> None:
        """End: no message is handled after this; what still waits gets an error."""
        core = self._core
        self.tidy(lambda: core.end("this process has left it; rayhpc.init() joins one again"))
        core.wake_leader = None
        references.hooks.wake = None
        core.store.wake_leader_with(None)
        inside.wake_waiters = None
        self.handover.stop()
        self.transport.close()
        core.store.close()
        core.close()
        self._sockets.close()

    def abandon(self) -> None:
        """In a child forked by user code: never touch the parent's sockets."""
        self.handover.abandon()

    # -- the loop --------------------------------------------------------------------------------
    def pump(self, timeout: float | None) -> None:
        """Handle what has arrived; if nothing has, wait. Only the leading thread calls this."""
        core = self._core
        core.advance()
        deadline = core.next_deadline()
        if deadline is not None:
            left = max(0.0, deadline - core.now())
            timeout = left if timeout is None else min(timeout, left)
        self._sockets.poll(timeout, self._on_readable)
        if deadline is not None and deadline <= core.now():
            core.on_time()
        core.advance()

    def watch(self, descriptor: int, readable: Callable[[int], None]) -> None:
        """Have the leading thread call `readable` when a descriptor becomes readable; only before
        `start`.
        """
        self._readable[descriptor] = readable
        self._sockets.watch(descriptor)

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch` (leading thread)."""
        del self._readable[descriptor]
        self._sockets.unwatch(descriptor)

    def _on_readable(self, descriptor: int) -> None:
        self._readable[descriptor](descriptor)

    # -- leading and waiting ---------------------------------------------------------------------
    def lead(self) -> AbstractContextManager[Any]:
        """The right to touch sockets and tables for a short action."""
        return self.handover.lead()

    def tidy(self, action: Callable[[], None]) -> None:
        """Take the lead for `action`, unless this process has left its cluster in the meantime:
        then there is nothing to tidy, and the error that says so must not be masked.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.lead())
            except RuntimeError:
                return
            action()

    def flush(self) -> None:
        """Send what submitting threads have queued (takes the lead)."""
        with self.handover.lead():
            self._core.advance()

    def send(self, address: Address, message: msgspec.Struct) -> None:
        """Send one message (takes the lead)."""
        with self.handover.lead():
            self.transport.send(address, message)

    def wait_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Serve until `done()`; False after `timeout` seconds.

        Raises:
            RaySystemError, LocalRayletDiedError: the cluster has ended.
        """
        if done():
            return True
        core = self._core
        try:
            waited = self.handover.wait(
                lambda: done() or core.ended is not None, self.pump, timeout
            )
        except RuntimeError:
            if core.ended is None:
                raise
            raise core.end_error() from None
        if core.ended is not None and not done():
            raise core.end_error()
        return waited
