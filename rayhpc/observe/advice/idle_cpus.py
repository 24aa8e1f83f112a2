"""More CPUs than the program had work for."""

from __future__ import annotations

import numpy as np

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.measures import at_work
from rayhpc.observe.snapshot import Snapshot
from rayhpc.observe.views.overview import overview

_USED = 0.6
_PEAK = 95


def look(snapshot: Snapshot) -> Advice | None:
    """Whether the cluster was too large all along."""
    cpus = snapshot.total("CPU")
    work = at_work(snapshot).cpus
    peak = float(np.percentile(work, _PEAK))
    if cpus < 2 or peak > _USED * cpus:
        return None
    seen = overview(snapshot)
    many = seen.nodes_given > 1
    had = f"{seen.nodes_given} nodes" if many else f"{cpus:g} CPUs"
    used = seen.nodes_used if many else seen.cpus_used
    return Advice(
        "idle_cpus",
        f"You had {had} and used {used:.1f}: hardly ever more than {peak:.1f} of {cpus:g} CPUs "
        "were at work at the same time.",
        "Ask for fewer, or have more tasks submitted at the same time.",
        snapshot.span * (1 - peak / cpus) / 2,
    )
