"""Time that went into runs that failed, or that had to be done again."""

from __future__ import annotations

import numpy as np

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.measures import in_seconds
from rayhpc.observe.snapshot import Snapshot
from rayhpc.observe.views.losses import losses

_LEAST = 0.05


def look(snapshot: Snapshot) -> Advice | None:
    """Whether much of the work was wasted."""
    runs = snapshot.runs
    total = float(runs.seconds.sum())
    failed = runs.failure >= 0
    in_vain = float(runs.seconds[failed].sum())
    again = sum(x.seconds for x in losses(snapshot).remade if x.made_again)
    if in_vain + again < _LEAST * total:
        return None
    parts = []
    if np.any(failed):
        worst = int(np.argmax(np.bincount(runs.failure[failed], runs.seconds[failed])))
        parts.append(
            f"{in_seconds(in_vain)} went into {np.count_nonzero(failed):,} runs that failed, most "
            f"of it with {snapshot.failures[worst]}"
        )
    if again:
        parts.append(f"{in_seconds(again)} into results that were lost and made again")
    return Advice(
        "lost_runs",
        f"Of {in_seconds(total)} of work {' and '.join(parts)}.",
        "Look at the tracebacks below; let what can fail fail early, or write checkpoints.",
        snapshot.span * (in_vain + again) / total,
    )
