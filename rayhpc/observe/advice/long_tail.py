"""A few long runs at the end, while the other CPUs have nothing left to do."""

from __future__ import annotations

import numpy as np

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.measures import at_work, function_with_most, in_seconds
from rayhpc.observe.snapshot import Snapshot

_FULL = 0.75
_IDLE = 0.35
_LEAST = 0.1


def look(snapshot: Snapshot) -> Advice | None:
    """Whether the cluster was full of work until some time before the end."""
    runs, cpus = snapshot.runs, snapshot.total("CPU")
    work = at_work(snapshot)
    full = np.flatnonzero(work.cpus >= _FULL * cpus)
    if cpus < 2 or len(full) < 0.1 * len(work.cpus):
        return None
    rest = work.cpus[full[-1] + 1 :]
    tail = len(rest) * work.step
    if not len(rest) or tail < _LEAST * snapshot.span:
        return None
    idle = 1 - float(np.mean(rest)) / cpus
    if idle < _IDLE:
        return None
    middle = work.begin + (full[-1] + 1) * work.step + tail / 2
    name, own = function_with_most(snapshot, np.flatnonzero(runs.end > middle))
    of_function = runs.seconds[runs.function == runs.function[own[0]]]
    most, median = float(runs.seconds[own].max()), float(np.median(of_function))
    longest = in_seconds(most)
    if most > median:
        longest += f" (its median: {in_seconds(median)})"
    used = float(np.mean(rest))
    return Advice(
        "long_tail",
        f"For the last {in_seconds(tail)} {used:.1f} of {cpus:g} CPUs were at work: "
        f"{len(own):,} run{'s' * (len(own) != 1)} of {name} went on, the longest for "
        f"{longest}.",
        "Submit the longest ones first, or split them.",
        tail * idle,
    )
