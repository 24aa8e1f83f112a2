"""Tasks so short that submitting them takes longer than running them."""

from __future__ import annotations

import numpy as np

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.measures import in_seconds
from rayhpc.observe.snapshot import Snapshot

_RUNS_LEAST = 1_000
_TINY_S = 0.001
# What each task costs its submitter; measured: 20 to 40 µs.
_OVERHEAD_S = 30e-6
# For tasks of this length the overhead is about a percent.
_GOOD_S = 0.01


def look(snapshot: Snapshot) -> Advice | None:
    """The function with the most such tasks."""
    runs = snapshot.runs
    counts = np.bincount(runs.function, minlength=len(snapshot.functions))
    for number in np.argsort(-counts).tolist():
        if counts[number] < _RUNS_LEAST:
            return None
        median = float(np.median(runs.seconds[runs.function == number]))
        if median < _TINY_S:
            together = min(int(counts[number]), max(10, round(_GOOD_S / max(median, 1e-6))))
            return Advice(
                "tiny_tasks",
                f"{counts[number]:,} runs of {snapshot.functions[number]} took "
                f"{in_seconds(median)} each (median), about as long as handing one over does.",
                f"Give each run a list of about {together:,} items to work on.",
                float(counts[number]) * _OVERHEAD_S,
            )
    return None
