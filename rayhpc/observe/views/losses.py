"""What was lost during the program: nodes, workers, and the runs that had to be repeated."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Column, Snapshot, once
from rayhpc.observe.views.functions import by_key
from rayhpc.observe.views.naming import name_of, node_names
from rayhpc.wire.address import node_of

_MEANT = ("INTENDED_SYSTEM_EXIT", "INTENDED_USER_EXIT", "")
_ROWS_MOST = 100


class LostNode(msgspec.Struct, frozen=True):
    """A node that was gone before the end, and why."""

    node: str
    reason: str


class LostWorkers(msgspec.Struct, frozen=True):
    """Workers of one node that ended unexpectedly in the same way."""

    node: str
    reason: str
    count: int


class Remade(msgspec.Struct, frozen=True):
    """A function of which runs were repeated.

    `retried` counts further attempts, `made_again` tasks that finished more than once because
    their results were lost; `seconds` is the time both took.
    """

    function: str
    retried: int
    made_again: int
    seconds: float


class Losses(msgspec.Struct, frozen=True):
    """Everything that was lost."""

    nodes: list[LostNode]
    workers: list[LostWorkers]
    remade: list[Remade]


@once
def losses(snapshot: Snapshot) -> Losses:
    """What was lost, and what was repeated because of it."""
    names = node_names(snapshot)
    died = Counter(
        (name_of(names, node_of(x.address)), x.exit_detail)
        for x in snapshot.ended_workers
        if x.exit_type not in _MEANT
    )
    return Losses(
        nodes=[LostNode(names[x.info.number], x.ended) for x in snapshot.nodes if not x.alive],
        workers=[LostWorkers(*key, count) for key, count in died.most_common(_ROWS_MOST)],
        remade=_remade(snapshot),
    )


def _remade(snapshot: Snapshot) -> list[Remade]:
    runs = snapshot.runs
    many = len(snapshot.functions)
    retried = runs.attempt > 0
    again = _finished_again(snapshot)
    counts = np.bincount(runs.function[retried], minlength=many)
    agains = np.bincount(runs.function[again], minlength=many)
    seconds = np.bincount(
        runs.function[retried | again], runs.seconds[retried | again], minlength=many
    )
    rows = [
        Remade(snapshot.functions[i], int(counts[i]), int(agains[i]), float(seconds[i]))
        for i in np.flatnonzero(counts + agains).tolist()
    ]
    return sorted(rows, key=lambda x: -x.seconds)[:_ROWS_MOST]


def _finished_again(snapshot: Snapshot) -> Column:
    """Which runs finished though a run of the same task had finished before."""
    runs = snapshot.runs
    is_again = np.zeros(len(runs), dtype=bool)
    keys = runs.key[by_key(snapshot)]
    if not np.any((keys[1:] == keys[:-1]) & (keys[1:] != 0)):
        return is_again  # every task ran once, as nearly always
    finished = np.flatnonzero((runs.failure < 0) & (runs.key != 0))
    order = finished[np.lexsort((runs.start[finished], runs.key[finished]))]
    is_again[order[1:][runs.key[order[1:]] == runs.key[order[:-1]]]] = True
    return is_again
