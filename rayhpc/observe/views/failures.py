"""Failed runs, by what was raised where, each kind with one traceback."""

from __future__ import annotations

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Snapshot
from rayhpc.observe.views.naming import name_of, node_names

_ROWS_MOST = 100
_NAMES_MOST = 5


class FailureRow(msgspec.Struct, frozen=True):
    """One kind of failure: how often, in which functions and on which nodes; times in seconds.

    `first` and `last` are seconds since the program's start; `traceback` is that of one of them.
    """

    kind: str
    count: int
    functions: list[str]
    nodes: list[str]
    first: float
    last: float
    seconds: float
    traceback: str


def failures(snapshot: Snapshot) -> list[FailureRow]:
    """All kinds, the most frequent first."""
    runs, names = snapshot.runs, node_names(snapshot)
    failed = np.flatnonzero(runs.failure >= 0)
    rows = []
    for number, kind in enumerate(snapshot.failures):
        own = failed[runs.failure[failed] == number]
        if not len(own):
            continue
        workers = np.unique(runs.worker[own])
        nodes = sorted({snapshot.workers[i].node for i in workers.tolist()})
        called = np.unique(runs.function[own])[:_NAMES_MOST]
        row = FailureRow(
            kind=kind,
            count=len(own),
            functions=[snapshot.functions[i] for i in called.tolist()],
            nodes=[name_of(names, x) for x in nodes[:_NAMES_MOST]],
            first=float(runs.start[own].min()) - snapshot.begin,
            last=float(runs.start[own].max()) - snapshot.begin,
            seconds=float(runs.seconds[own].sum()),
            traceback=snapshot.tracebacks.get(kind, ""),
        )
        rows.append(row)
    return sorted(rows, key=lambda x: -x.count)[:_ROWS_MOST]
