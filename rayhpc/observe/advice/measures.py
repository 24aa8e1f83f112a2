"""Figures that several kinds of advice are based on, and how they are formatted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rayhpc.observe import intervals
from rayhpc.observe.snapshot import Column, Snapshot, once

_BINS = 400


class AtWork(NamedTuple):
    """How many CPUs were busy over time, from the first run to the last; `step` in seconds."""

    begin: float
    step: float
    cpus: Column

    @property
    def seconds(self) -> float:
        """From the first run to the last, in seconds."""
        return self.step * len(self.cpus)


@once
def at_work(snapshot: Snapshot) -> AtWork:
    """The busy CPUs while the cluster had work; there must be a run."""
    runs = snapshot.runs
    begin, end = float(runs.start.min()), float(runs.end.max())
    edges = np.linspace(begin, max(end, begin + 1e-6), _BINS + 1)
    cpus = intervals.mean_over(edges, intervals.busy(snapshot))
    return AtWork(begin, float(edges[1] - edges[0]), cpus)


def function_with_most(snapshot: Snapshot, chosen: Column) -> tuple[str, Column]:
    """The function that took most time among the chosen runs, and which of them are its runs."""
    runs = snapshot.runs
    time = np.bincount(runs.function[chosen], runs.seconds[chosen])
    number = int(np.argmax(time))
    return snapshot.functions[number], chosen[runs.function[chosen] == number]


def in_seconds(seconds: float) -> str:
    """A time as people read it: `80 µs`, `2.5 ms`, `12.0 s`, `3 min 5 s`, `2 h 4 min`."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def in_bytes(size: float) -> str:
    """Bytes as people read them: `40 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
