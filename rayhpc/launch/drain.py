"""How long a program may continue after its job is told to end.

Decided once when a rank starts, used by `head_rank` and `node_rank`, shown by `doctor`.  If the
batch system kills sooner than usual, the program is ended before that, so that the cluster can
still say why, keep its logs and leave nothing behind.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from rayhpc.allocation.fact import Fact
from rayhpc.batch.system import BatchSystem

USUAL_S = 25.0
# The share of a short grace period reserved for ending the cluster itself, and its maximum.
_MARGIN_PART = 0.4
_MARGIN_S = 5.0
# The head ends the cluster within its own limit; the other ranks wait this much longer for it.
_LATER_S = 2.0


@dataclass(frozen=True)
class Drain:
    """Seconds after a SIGTERM, and after any other signal that means the end.

    `grace` is what the batch system, `title`, grants a job; `later` is how much longer the ranks
    without the program wait for the head.
    """

    after_term: float
    otherwise: float
    later: float
    grace: Fact[float | None]
    title: str

    def after(self, number: int) -> float:
        """Seconds after this signal; only a SIGTERM is followed by SIGKILL."""
        return self.after_term if number == signal.SIGTERM else self.otherwise

    @property
    def advice(self) -> list[str]:
        """A warning if more was requested than the batch system grants."""
        wait = self.grace.value
        if wait is None or self.after_term < max(wait, self.otherwise):
            return []
        sentence = (
            f"--drain is {self.after_term:g} s, but {self.title} kills {wait:g} s after it "
            f"tells a job to end ({self.grace.source}): the program will have less"
        )
        return [sentence]

    def why(self, seconds: float) -> str:
        """The reason for the limit, for the message about a program that ran longer."""
        if seconds < self.otherwise:
            return f"{self.title} kills after {self.grace.value:g} s; --drain sets how long it may"
        return "--drain sets how long it may"


def decide(told: float | None, system: BatchSystem, environ: Mapping[str, str]) -> Drain:
    """The time given with --drain, or else the longest that this batch system allows."""
    wait = system.grace(environ)
    if told is not None:
        return Drain(told, told, _LATER_S, wait, system.title)
    seconds, margin = default(wait.value)
    return Drain(seconds, USUAL_S, min(_LATER_S, margin / 2), wait, system.title)


def default(wait: float | None) -> tuple[float, float]:
    """Seconds for the program if it is killed after `wait`, and how much is reserved."""
    if wait is None:
        return USUAL_S, _MARGIN_S
    margin = min(_MARGIN_S, _MARGIN_PART * wait)
    return min(USUAL_S, wait - margin), margin
