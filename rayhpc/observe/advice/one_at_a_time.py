"""One run after the other on a cluster of many CPUs."""

from __future__ import annotations

import numpy as np

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.measures import at_work
from rayhpc.observe.snapshot import Snapshot

_RUNS_LEAST = 10
_ALONE = 0.9
_TAKES = 0.5


def look(snapshot: Snapshot) -> Advice | None:
    """Whether runs hardly ever overlapped, and why."""
    runs, cpus = snapshot.runs, snapshot.total("CPU")
    if len(runs) < _RUNS_LEAST or cpus < 2:
        return None
    overlaps = _overlapping(snapshot)
    if overlaps > 1 - _ALONE:
        return None
    seconds = at_work(snapshot).seconds
    takes = float(np.mean(np.diff(runs.first_source) > 0))
    remedy = (
        "Each takes the result of the one before: look for work that does not, or take several "
        "steps in one task."
        if takes > _TAKES
        else "Submit all of them first and get the results afterwards: "
        "get([f.remote(x) for x in …]) instead of get(f.remote(x)) in a loop."
    )
    return Advice(
        "one_at_a_time",
        f"Of {len(runs):,} runs {1 - overlaps:.0%} had the whole cluster to themselves: one of "
        f"{cpus:g} CPUs was in use.",
        remedy,
        seconds * (1 - 1 / cpus),
    )


def _overlapping(snapshot: Snapshot) -> float:
    """The share of runs that began before all earlier ones had ended."""
    runs = snapshot.runs
    order = np.argsort(runs.start, kind="stable")
    reach = np.maximum.accumulate(runs.end[order])
    return float(np.count_nonzero(runs.start[order][1:] < reach[:-1])) / len(runs)
