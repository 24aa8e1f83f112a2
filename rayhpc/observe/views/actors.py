"""Actors: what they are, how busy they were, and how they ended."""

from __future__ import annotations

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Snapshot
from rayhpc.observe.views.naming import node_names

_ROWS_MOST = 300


class ActorRow(msgspec.Struct, frozen=True):
    """One actor; `busy` is the share of its life in which a call ran (0 to 1; for an actor that
    runs several at once the sum, which may be more).
    """

    class_name: str
    name: str
    state: str
    node: str
    pid: int
    calls: int
    failed: int
    seconds: float
    busy: float
    restarts: int
    reason: str


class Actors(msgspec.Struct, frozen=True):
    """The busiest actors, and how many others there were."""

    rows: list[ActorRow]
    left_out: int


def actors(snapshot: Snapshot) -> Actors:
    """All actors, the busiest first."""
    runs = snapshot.runs
    many = len(snapshot.actor_ids)
    of_actor = runs.actor >= 0
    number = runs.actor[of_actor]
    calls = np.bincount(number, minlength=many)
    seconds = np.bincount(number, runs.seconds[of_actor], minlength=many)
    failed = np.bincount(runs.actor[of_actor & (runs.failure >= 0)], minlength=many)
    place = {x: i for i, x in enumerate(snapshot.actor_ids)}
    names = node_names(snapshot)
    of_node = {x.info.node_id: names[x.info.number] for x in snapshot.nodes}
    rows = []
    for actor in snapshot.actors:
        i = place.get(actor.actor, -1)
        life = (actor.ended or snapshot.end) - actor.started if actor.started else 0.0
        time = float(seconds[i]) if i >= 0 else 0.0
        row = ActorRow(
            class_name=actor.class_name,
            name=actor.name,
            state=actor.state,
            node=of_node.get(actor.node_id, ""),
            pid=actor.pid,
            calls=int(calls[i]) if i >= 0 else 0,
            failed=int(failed[i]) if i >= 0 else 0,
            seconds=time,
            busy=time / life if life > 0 else 0.0,
            restarts=max(0, actor.incarnation - 1),
            reason=actor.reason,
        )
        rows.append(row)
    rows.sort(key=lambda x: -x.seconds)
    return Actors(rows[:_ROWS_MOST], max(0, len(rows) - _ROWS_MOST))
