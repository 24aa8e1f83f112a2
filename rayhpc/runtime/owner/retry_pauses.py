"""When what has raised runs again: at once the first time, then after pauses that grow.

Used by `submission` (tasks) and `calls` (actors).  A failure that goes by itself, such as a server
that restarts, would otherwise use up all retries within milliseconds; in Ray a retry waits up to a
second.  After a crash there is no pause: to start another process takes time as it is.  Told the
time; decides nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from rayhpc.runtime.owner.pending import Pending
from rayhpc.wire.address import ObjectId

# The second retry waits so long, each later one twice as long, up to LONGEST_S.
SHORTEST_S = 0.05
LONGEST_S = 1.0


class _Pause(NamedTuple):
    due: float
    pending: Pending
    resume: Callable[[Pending], None]


class RetryPauses:
    """The tasks or calls that wait for their next attempt.

    Args:
        now: the time in seconds, monotonic.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._pauses: dict[ObjectId, _Pause] = {}

    def begin(self, pending: Pending, resume: Callable[[Pending], None]) -> None:
        """Call `resume` with it when its pause is over; at once if it needs none."""
        if not pending.attempt:
            resume(pending)
            return
        # The exponent is bounded: a task may be retried without end.
        seconds = min(LONGEST_S, SHORTEST_S * 2.0 ** min(pending.attempt - 1, 10))
        self._pauses[pending.tid] = _Pause(self._now() + seconds, pending, resume)

    def forget(self, pending: Pending) -> None:
        """It will not run again."""
        self._pauses.pop(pending.tid, None)

    def has(self, pending: Pending) -> bool:
        """Whether it waits here."""
        return pending.tid in self._pauses

    def waiting(self) -> list[Pending]:
        """Everything that waits here."""
        return [pause.pending for pause in self._pauses.values()]

    def deadline(self, others: Collection[float] = ()) -> float | None:
        """When `on_time` has something to do, or the first of `others`; None: neither."""
        if not (self._pauses or others):  # the rule, and asked in every turn
            return None
        return min([*others, *[pause.due for pause in self._pauses.values()]])

    def on_time(self) -> None:
        """Resume everything whose pause is over."""
        now = self._now()
        for pause in [pause for pause in self._pauses.values() if pause.due <= now]:
            del self._pauses[pause.pending.tid]
            pause.resume(pause.pending)
