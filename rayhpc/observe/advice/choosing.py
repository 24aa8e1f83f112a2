"""The three pieces of advice that would save most.

Used by `views.everything`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.observe.advice import (
    driver_alone,
    idle_cpus,
    idle_nodes,
    large_arguments,
    long_tail,
    lost_runs,
    one_at_a_time,
    spilling,
    tiny_tasks,
)
from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.snapshot import Snapshot

SHOWN = 3
# Advice that would save less than this share of the program's time is left out.
WORTH = 0.02

LOOKS: tuple[Callable[[Snapshot], Advice | None], ...] = (
    one_at_a_time.look,
    tiny_tasks.look,
    long_tail.look,
    large_arguments.look,
    spilling.look,
    idle_nodes.look,
    lost_runs.look,
    driver_alone.look,
    idle_cpus.look,
)
# Where both are found, one is a consequence of the other.
_FOLLOWS = {"idle_cpus": ("one_at_a_time", "long_tail", "idle_nodes", "driver_alone", "tiny_tasks")}


def advice(snapshot: Snapshot) -> list[Advice]:
    """At most three pieces, the largest saving first; none for a program without a fault."""
    if not len(snapshot.runs):
        return []
    found = [x for look in LOOKS if (x := look(snapshot)) is not None]
    worth = [x for x in found if x.saves >= WORTH * snapshot.span]
    kinds = {x.kind for x in worth}
    causes = [x for x in worth if kinds.isdisjoint(_FOLLOWS.get(x.kind, ()))]
    whole = snapshot.span
    bounded = [msgspec.structs.replace(x, saves=min(x.saves, whole)) for x in causes]
    return sorted(bounded, key=lambda x: -x.saves)[:SHOWN]
