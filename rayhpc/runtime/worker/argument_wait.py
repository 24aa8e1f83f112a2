"""Waiting for arguments that may not exist yet, without keeping from others what would make them.

Used by `worker` in the main thread, before user code starts.  As in Ray, a task takes its resources
once its arguments are there; here it has them already, so they are lent: the raylet decides
(`raylet.argument_loans`), since it knows which objects are still to be made.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.loop import Loop
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import leases

# The raylet is told after this time, and again at intervals that double up to a limit: an argument
# may be lost while it is on its way.
TELL_AFTER_S, TELL_EACH_S = 0.05, 2.0


class LeaseLostError(Exception):
    """What was lent could not be had again: the task must run under another lease."""


class ArgumentWait:
    """Waits for the arguments of a worker's next task, or of its constructor.

    Args:
        core: its process.
        loop: what serves the process.
        wait: waits for so many seconds at most, or until there is an interrupt.
    """

    def __init__(
        self, core: Core, loop: Loop, wait: Callable[[Callable[[], bool], float | None], bool]
    ) -> None:
        self._core = core
        self._loop = loop
        self._wait = wait
        self._answers: list[leases.MayStart] = []

    def on_may_start(self, _: Address, message: leases.MayStart) -> None:
        """The raylet has answered (leading thread)."""
        self._answers.append(message)

    def until(
        self,
        done: Callable[[], bool],
        lease: int,
        oids: list[ObjectId],
        interrupted: Callable[[], bool],
    ) -> dict[str, list[str]] | None:
        """Wait until `done()`, or until `interrupted()` before anything was lent.

        Returns:
            The devices of the lease, if anything may have been lent.

        Raises:
            LeaseLostError: the lease does not hold any more what was lent.
        """
        pause = TELL_AFTER_S
        is_told = False
        while not self._wait(done, pause) and not interrupted():
            self._send(leases.ArgumentsMissing(lease, oids))
            is_told = True
            pause = min(2 * pause, TELL_EACH_S)
        if not is_told:
            return None
        if not done():
            raise LeaseLostError
        self._send(leases.ArgumentsHere(lease))
        self._loop.wait_until(lambda: bool(self._answers))
        answer = self._answers.pop()
        if not answer.granted:
            raise LeaseLostError
        return answer.devices

    def _send(self, message: leases.ArgumentsMissing | leases.ArgumentsHere) -> None:
        with self._loop.lead():
            self._core.send_now(self._core.raylet, message)
