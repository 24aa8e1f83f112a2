"""Functions and methods: how often, how long, and what their runs waited for; the longest runs."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Column, Snapshot, once
from rayhpc.observe.views.naming import name_of, node_names

_ROWS_MOST = 500
_LONGEST = 25


class FunctionRow(msgspec.Struct, frozen=True):
    """One function or method; times in seconds.

    `waiting` is the time its runs spent in get and wait.  Before that they waited, from their
    submission on, `for_arguments` until the references they took were ready, and then `for_room`
    until they began, on a worker or (calls) in their actor: known for `for_room_of` runs.
    `node` is the one on which they took most time, `node_share` the share of it (0 to 1).
    `large_calls` counts the calls whose arguments were too large for a message, `large_bytes` their
    bytes.
    """

    name: str
    count: int
    failed: int
    retried: int
    total: float
    p50: float
    p99: float
    longest: float
    share: float
    waiting: float
    for_arguments: float
    for_room: float
    for_room_of: int
    large_calls: int
    large_bytes: int
    node: str
    node_share: float


class LongRun(msgspec.Struct, frozen=True):
    """One of the longest runs; `start` is in seconds since the program's start."""

    function: str
    seconds: float
    start: float
    node: str
    pid: int
    failed: bool


def functions(snapshot: Snapshot) -> list[FunctionRow]:
    """All functions, the one that took most time first."""
    runs = snapshot.runs
    many = len(snapshot.functions)
    order = np.lexsort((runs.seconds, runs.function))
    seconds, function = runs.seconds[order], runs.function[order]
    first = np.searchsorted(function, np.arange(many + 1))
    total = np.bincount(runs.function, runs.seconds, minlength=many)
    failed = np.bincount(runs.function[runs.failure >= 0], minlength=many)
    retried = np.bincount(runs.function[runs.attempt > 0], minlength=many)
    waiting = np.bincount(runs.function, runs.waited, minlength=many)
    arguments, room = waits(snapshot)
    known = ~np.isnan(room)
    for_arguments = np.bincount(runs.function, arguments, minlength=many)
    for_room = np.bincount(runs.function[known], room[known], minlength=many)
    for_room_of = np.bincount(runs.function[known], minlength=many)
    most_on, on_node = _most_on(snapshot)
    rows = []
    for i in np.argsort(-total, kind="stable")[:_ROWS_MOST].tolist():
        own = seconds[first[i] : first[i + 1]]
        sent = snapshot.sent.get(i)
        row = FunctionRow(
            name=snapshot.functions[i],
            count=len(own),
            failed=int(failed[i]),
            retried=int(retried[i]),
            total=float(total[i]),
            p50=_quantile(own, 0.5),
            p99=_quantile(own, 0.99),
            longest=float(own[-1]) if len(own) else 0.0,
            share=float(total[i] / max(total.sum(), 1e-9)),
            waiting=float(waiting[i]),
            for_arguments=float(for_arguments[i]),
            for_room=float(for_room[i]),
            for_room_of=int(for_room_of[i]),
            large_calls=sent.calls if sent else 0,
            large_bytes=sent.size if sent else 0,
            node=most_on[i],
            node_share=float(on_node[i] / max(total[i], 1e-9)),
        )
        rows.append(row)
    return rows


def _most_on(snapshot: Snapshot) -> tuple[list[str], Column]:
    """The node on which each function took most time, and how much."""
    runs, names = snapshot.runs, node_names(snapshot)
    numbers, place = np.unique([x.node for x in snapshot.workers] or [0], return_inverse=True)
    width = len(numbers)
    cell = runs.function.astype(np.int64) * width + place[runs.worker]
    size = len(snapshot.functions) * width
    time = np.bincount(cell, runs.seconds, minlength=size).reshape(-1, width)
    most = time.argmax(axis=1)
    return [name_of(names, int(numbers[x])) for x in most], time.max(axis=1)


def longest(snapshot: Snapshot) -> list[LongRun]:
    """The longest runs, the longest first."""
    return _runs(snapshot, _largest(snapshot.runs.seconds))


def latest(snapshot: Snapshot) -> list[LongRun]:
    """The runs that ended last, the last one first."""
    return _runs(snapshot, _largest(snapshot.runs.end))


def _largest(values: Column) -> Column:
    """Where the largest values are, the largest first; all others are not sorted."""
    among = np.arange(len(values))
    if len(values) > _LONGEST:
        least = np.partition(values, len(values) - _LONGEST)[len(values) - _LONGEST]
        among = np.flatnonzero(values >= least)
    return among[np.argsort(-values[among], kind="stable")[:_LONGEST]]


def _runs(snapshot: Snapshot, chosen: Column) -> list[LongRun]:
    runs, names = snapshot.runs, node_names(snapshot)
    found = []
    for i in chosen.tolist():
        worker = snapshot.workers[int(runs.worker[i])]
        row = LongRun(
            function=snapshot.functions[int(runs.function[i])],
            seconds=float(runs.seconds[i]),
            start=float(runs.start[i]) - snapshot.begin,
            node=name_of(names, worker.node),
            pid=worker.pid,
            failed=bool(runs.failure[i] >= 0),
        )
        found.append(row)
    return found


@once
def waits(snapshot: Snapshot) -> tuple[Column, Column]:
    """How long each run waited for its arguments (0: unknown), and for room (NaN: unknown).

    Only a first attempt was waiting all the time since its submission.
    """
    runs = snapshot.runs
    ready = ready_at(snapshot)
    is_known = (runs.submitted > 0) & (runs.attempt == 0)
    # Without a maker that is known, a reference was there before (or its maker is forgotten).
    late = np.where(np.isnan(ready), 0.0, np.minimum(ready, runs.start) - runs.submitted)
    arguments = np.where(is_known, np.maximum(0.0, late), 0.0)
    since = np.where(is_known, runs.submitted + arguments, ready)
    return arguments, np.maximum(0.0, runs.start - since)


def ready_at(snapshot: Snapshot) -> Column:
    """When the last reference that a run took was made; NaN where unknown."""
    runs = snapshot.runs
    counts = np.diff(runs.first_source)
    ready = np.full(len(runs), np.nan)
    takes = np.flatnonzero(counts)
    if not len(takes):
        return ready
    made = source_makers(snapshot)
    ended = np.where(made >= 0, runs.end[np.maximum(made, 0)], -np.inf)
    latest = np.maximum.reduceat(ended, runs.first_source[:-1][takes])
    is_known = np.isfinite(latest)
    ready[takes[is_known]] = latest[is_known]
    return ready


@once
def source_makers(snapshot: Snapshot) -> Column:
    """The run that made each reference that runs took."""
    return maker_of(snapshot, snapshot.runs.sources)


@once
def by_key(snapshot: Snapshot) -> Column:
    """The runs in the order of their tasks' keys, and of each task in the order they ended."""
    return np.lexsort((snapshot.runs.end, snapshot.runs.key))


def maker_of(snapshot: Snapshot, keys: Column) -> Column:
    """The run that made the object of each key (the last of its attempts); -1: unknown."""
    runs = snapshot.runs
    if not len(runs):
        return np.full(len(keys), -1)
    order = by_key(snapshot)
    place = np.searchsorted(runs.key[order], keys, side="right") - 1
    found = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (runs.key[found] == keys), found, -1)


def _quantile(ascending: Column, part: float) -> float:
    """The least value that this part of all does not exceed."""
    if not len(ascending):
        return 0.0
    return float(ascending[math.ceil(part * len(ascending)) - 1])
