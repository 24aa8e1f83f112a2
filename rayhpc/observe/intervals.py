"""Sums over many stretches of time, without looping over them.

Used by the views.  A stretch has a start, an end and a weight; the weight in force at a moment is
the sum over all stretches that cover it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rayhpc.observe.snapshot import Column, Snapshot, once


class Stretches(NamedTuple):
    """Stretches of time; columns of the same length, `worker` numbers the snapshot's workers."""

    start: Column
    end: Column
    weight: Column
    worker: Column


@once
def busy(snapshot: Snapshot) -> Stretches:
    """When each worker ran something, with the CPUs it had for that.

    Runs that overlap in one process (an actor's threads) are one stretch.  The time a run waited
    for others reduces its weight.  A worker that was given no CPU counts with one while it runs.
    """
    runs = snapshot.runs
    if not len(runs):
        none = np.zeros(0)
        return Stretches(none, none, none, np.zeros(0, dtype=np.int32))
    # Workers one after another on one axis, so that their stretches never overlap.
    origin = runs.start.min()
    width = (runs.end.max() - origin) + 1.0
    shift = runs.worker * width - origin
    start, end = runs.start + shift, runs.end + shift
    reach = np.maximum.accumulate(end)
    begins = np.concatenate(([True], start[1:] > reach[:-1]))
    first = np.flatnonzero(begins)
    last = np.concatenate((first[1:], [len(start)])) - 1
    length = reach[last] - start[first]
    waited = np.minimum(np.add.reduceat(runs.waited, first), length)
    working = 1.0 - waited / np.maximum(length, 1e-9)
    cpus = np.maximum.reduceat(np.where(runs.cpus > 0, runs.cpus, 1.0), first)
    return Stretches(
        runs.start[first], runs.start[first] + length, cpus * working, runs.worker[first]
    )


def mean_over(edges: Column, stretches: Stretches) -> Column:
    """The mean weight in force between each pair of neighbouring edges."""
    total = _integral(edges, stretches.start, stretches.weight)
    total = total - _integral(edges, stretches.end, stretches.weight)
    return np.diff(total) / np.diff(edges)


def _integral(at: Column, begins: Column, weights: Column) -> Column:
    """For each moment, the sum over all earlier starts of weight times the time since the start."""
    order = np.argsort(begins)
    origin = at[0]
    sorted_begins, sorted_weights = begins[order] - origin, weights[order]
    weight = np.concatenate(([0.0], np.cumsum(sorted_weights)))
    moment = np.concatenate(([0.0], np.cumsum(sorted_weights * sorted_begins)))
    count = np.searchsorted(sorted_begins, at - origin, side="right")
    return (at - origin) * weight[count] - moment[count]
