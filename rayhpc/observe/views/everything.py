"""All views of a snapshot, and the advice: what a report shows and `--json` prints."""

from __future__ import annotations

import msgspec

from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.choosing import advice
from rayhpc.observe.snapshot import Snapshot
from rayhpc.observe.views.actors import Actors, actors
from rayhpc.observe.views.critical_path import CriticalPath, critical_path
from rayhpc.observe.views.failures import FailureRow, failures
from rayhpc.observe.views.functions import FunctionRow, LongRun, functions, longest
from rayhpc.observe.views.losses import Losses, losses
from rayhpc.observe.views.memory import Memory, memory
from rayhpc.observe.views.overview import Overview, overview
from rayhpc.observe.views.stores import Stores, stores
from rayhpc.observe.views.timeline import Timeline, timeline
from rayhpc.observe.views.usage import Usage, usage


class Views(msgspec.Struct, frozen=True):
    """Everything that is shown about a cluster."""

    overview: Overview
    advice: list[Advice]
    usage: Usage
    memory: Memory
    timeline: Timeline
    functions: list[FunctionRow]
    longest: list[LongRun]
    critical_path: CriticalPath | None
    actors: Actors
    stores: Stores
    losses: Losses
    failures: list[FailureRow]


def views(snapshot: Snapshot) -> Views:
    """All views of a snapshot."""
    return Views(
        overview=overview(snapshot),
        advice=advice(snapshot),
        usage=usage(snapshot),
        memory=memory(snapshot),
        timeline=timeline(snapshot),
        functions=functions(snapshot),
        longest=longest(snapshot),
        critical_path=critical_path(snapshot),
        actors=actors(snapshot),
        stores=stores(snapshot),
        losses=losses(snapshot),
        failures=failures(snapshot),
    )
