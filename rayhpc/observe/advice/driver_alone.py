"""A driver that works while the cluster has nothing to do."""

from __future__ import annotations

import numpy as np

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.measures import in_seconds
from rayhpc.observe.intervals import busy
from rayhpc.observe.snapshot import Snapshot

_LEAST = 0.3
# Python and its libraries need some time to start.
_START_S = 3.0
_PAUSE_S = 0.05


def look(snapshot: Snapshot) -> Advice | None:
    """Whether no run was in progress for much of the time."""
    stretches = busy(snapshot)
    order = np.argsort(stretches.start)
    start, reach = stretches.start[order], np.maximum.accumulate(stretches.end[order])
    gaps = np.maximum(0.0, start[1:] - reach[:-1])
    pauses = gaps[gaps >= _PAUSE_S]
    before = max(0.0, float(start[0]) - snapshot.begin - _START_S)
    after = max(0.0, snapshot.end - float(reach[-1]))
    alone = before + float(pauses.sum()) + after
    if alone < _LEAST * snapshot.span:
        return None
    parts = [
        f"{in_seconds(x)} {word}"
        for x, word in ((before, "before the first"), (after, "after the last"))
        if x > 0.1 * alone
    ]
    if pauses.sum() > 0.1 * alone:
        many = f"{len(pauses):,} pause{'s' * (len(pauses) != 1)}"
        parts.insert(0, f"{in_seconds(float(pauses.sum()))} in {many} between")
    return Advice(
        "driver_alone",
        f"For {in_seconds(alone)} of {in_seconds(snapshot.span)} no run was under way "
        f"({', '.join(parts)}): the program worked alone.",
        "Put that work into tasks, or do it while others run.",
        alone,
    )
