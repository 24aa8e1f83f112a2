"""What has run so far, by function and by actor, in memory that does not grow with the runs.

Fed by `launch.live_look` with what the raylets have reported since the last look; read by `now`.
Run times are kept as counts in bins an eighth of an octave wide.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from rayhpc.observe import facts
from rayhpc.observe.snapshot import Column
from rayhpc.wire import runs as packed
from rayhpc.wire.messages.task_runs import RunGroup, RunPage

FUNCTIONS_MOST = 500
ACTORS_MOST = 10_000
# Functions beyond the maximum number are counted under this name.
OTHERS = "(other functions)"
# Rates are means over this many seconds.
RATE_S = 5.0
_BINS = 320
_PER_OCTAVE = 8
_SHORTEST_S = 1e-6


class FunctionTally:
    """One function or method; times in seconds.

    `queued` is how long runs waited to begin after they were submitted, known for `queued_of`.
    """

    __slots__ = (
        "bins",
        "count",
        "failed",
        "longest",
        "queued",
        "queued_of",
        "retried",
        "seconds",
        "waited",
    )

    def __init__(self) -> None:
        self.count = self.failed = self.retried = self.queued_of = 0
        self.seconds = self.waited = self.longest = self.queued = 0.0
        self.bins: Column = np.zeros(_BINS, dtype=np.int64)

    def add(self, group: RunGroup, offset: float) -> None:
        """Add runs that have ended; `offset` is that of their report."""
        seconds = np.frombuffer(group.seconds)
        many = len(seconds)
        self.count += many
        self.failed += many if group.error else 0
        self.retried += many if group.attempt else 0
        self.seconds += float(seconds.sum())
        self.longest = max(self.longest, float(seconds.max()))
        if group.waited:
            self.waited += float(np.frombuffer(group.waited).sum())
        if group.submitted and not group.attempt:
            late = np.frombuffer(group.starts) + offset - np.frombuffer(group.submitted)
            self.queued += max(0.0, float(late.sum()))
            self.queued_of += many
        octaves = np.log2(np.maximum(seconds, _SHORTEST_S) / _SHORTEST_S)
        place = np.minimum((octaves * _PER_OCTAVE).astype(np.int64), _BINS - 1)
        np.add.at(self.bins, place, 1)

    def quantile(self, part: float) -> float:
        """The time within which this share of the runs ended, to within a tenth."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self.bins), part * self.count, side="left"))
        middle = _SHORTEST_S * 2.0 ** ((place + 0.5) / _PER_OCTAVE)
        return min(float(middle), self.longest)


class ActorTally:
    """One actor's calls; `seconds` is their total."""

    __slots__ = ("calls", "failed", "seconds")

    def __init__(self) -> None:
        self.calls = self.failed = 0
        self.seconds = 0.0


class _Marked(NamedTuple):
    """One look: when it was, and how many runs of each function were new in it."""

    at: float
    counts: dict[str, int]


class Tally:
    """All functions and actors.

    Args:
        recent: how many of the latest runs are kept as they came (0: none).
    """

    def __init__(self, recent: int = 0) -> None:
        self.functions: dict[str, FunctionTally] = {}
        self.actors: dict[bytes, ActorTally] = {}
        self.runs = 0
        self._recent_most = recent
        self._recent: deque[tuple[int, RunPage]] = deque()
        self._kept = 0
        self._new: dict[str, int] = {}
        self._looks: deque[_Marked] = deque()

    def add(self, page: RunPage, is_news: bool) -> None:
        """Add runs that a raylet has reported; they count for the rates if they are news."""
        before = self.runs
        for batch in packed.batches([page]):
            for group in batch.groups:
                if facts.is_whole(group) and group.starts:
                    self._add(group, batch.offset, is_news)
        self._keep(page, self.runs - before)

    def mark(self, at: float) -> None:
        """Note that a look has ended, at this time (in seconds)."""
        self._looks.append(_Marked(at, self._new))
        self._new = {}
        while len(self._looks) > 2 and at - self._looks[1].at >= RATE_S:
            self._looks.popleft()

    def rates(self) -> dict[str, float]:
        """How many runs of each function ended per second recently."""
        if len(self._looks) < 2:
            return {}
        span = max(1e-3, self._looks[-1].at - self._looks[0].at)
        found: dict[str, float] = {}
        for look in list(self._looks)[1:]:
            for name, count in look.counts.items():
                found[name] = found.get(name, 0.0) + count / span
        return found

    def recent(self) -> list[RunPage]:
        """The latest runs, as they were reported; earlier ones count as dropped."""
        pages = [page for _, page in self._recent]
        return [*pages, RunPage([], dropped=self.runs - self._kept)]

    def _add(self, group: RunGroup, offset: float, is_news: bool) -> None:
        many = len(group.starts) // 8
        name = group.name
        if name not in self.functions and len(self.functions) >= FUNCTIONS_MOST:
            name = OTHERS
        self.functions.setdefault(name, FunctionTally()).add(group, offset)
        self.runs += many
        if is_news:
            self._new[name] = self._new.get(name, 0) + many
        if not group.actor:
            return
        actor = self.actors.get(group.actor)
        if actor is None:
            if len(self.actors) >= ACTORS_MOST:
                return
            actor = self.actors[group.actor] = ActorTally()
        actor.calls += many
        actor.failed += many if group.error else 0
        actor.seconds += float(np.frombuffer(group.seconds).sum())

    def _keep(self, page: RunPage, count: int) -> None:
        if not (self._recent_most and count):
            return
        self._recent.append((count, RunPage(page.chunks)))
        self._kept += count
        while len(self._recent) > 1 and self._kept - self._recent[0][0] >= self._recent_most:
            self._kept -= self._recent.popleft()[0]
