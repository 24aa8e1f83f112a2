"""The chain of runs that the program's end waited for, from its first to its last.

Walks back from the run that ended last.  The step before a run is whatever it waited for longest:
the run that made its last argument, the run that had occupied its worker, or the run that submitted
it.  If there is none of these, the driver submitted it once the last run before it had ended,
wherever that ran.  The gaps are time in which the driver, or rayhpc, was at work.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Column, Runs, Snapshot
from rayhpc.observe.views.functions import maker_of, source_makers
from rayhpc.observe.views.naming import name_of, node_names

_STEPS_MOST = 20_000
_STEPS_SHOWN = 60
# If another run left the worker this shortly before, the worker is what was waited for.
_AT_ONCE_S = 0.005

ARGUMENT, ROOM, PARENT, DRIVER = "argument", "room", "parent", "driver"


class Step(msgspec.Struct, frozen=True):
    """A run on the path: the part of it that was waited for, in seconds since the start.

    `waited_for` is what it had to wait for to begin: an argument, room on its worker, the task
    that submitted it, or the driver.  `gap` is the time since then, in seconds.
    """

    function: str
    start: float
    seconds: float
    gap: float
    waited_for: str
    node: str


class PathShare(msgspec.Struct, frozen=True):
    """The share of the path that was runs of one function."""

    function: str
    seconds: float
    runs: int


class CriticalPath(msgspec.Struct, frozen=True):
    """The path; times in seconds.  `steps` are the longest of its `count` steps, in order.

    `before`, `between` and `after` are the time before its first run, between its runs, and after
    its last.
    """

    seconds: float
    running: float
    before: float
    between: float
    after: float
    count: int
    functions: list[PathShare]
    steps: list[Step]


class _Link(NamedTuple):
    run: int
    until: float
    waited_for: str
    gap: float


def critical_path(snapshot: Snapshot) -> CriticalPath | None:
    """The path of a program; None if nothing ran."""
    runs = snapshot.runs
    if not len(runs):
        return None
    links = _walk(snapshot)[::-1]
    shares: dict[int, list[float]] = {}
    for link in links:
        found = shares.setdefault(int(runs.function[link.run]), [])
        found.append(link.until - float(runs.start[link.run]))
    functions = [
        PathShare(snapshot.functions[x], sum(parts), len(parts)) for x, parts in shares.items()
    ]
    functions.sort(key=lambda x: -x.seconds)
    first = float(runs.start[links[0].run])
    last = max(x.until for x in links)
    return CriticalPath(
        seconds=snapshot.span,
        running=sum(x.seconds for x in functions),
        before=max(0.0, first - snapshot.begin),
        between=sum(x.gap for x in links[1:]),
        after=max(0.0, snapshot.end - last),
        count=len(links),
        functions=functions[:100],
        steps=_longest(snapshot, links),
    )


def _walk(snapshot: Snapshot) -> list[_Link]:
    """The path from its end to its start."""
    runs = snapshot.runs
    end, made = runs.end, source_makers(snapshot)
    by_end = np.argsort(end, kind="stable")
    ends = end[by_end]
    has_parents = bool(np.any(runs.parent))
    parents = maker_of(snapshot, runs.parent) if has_parents else np.full(len(runs), -1)
    current, until = int(np.argmax(end)), float(np.max(end))
    links: list[_Link] = []
    while len(links) < _STEPS_MOST:
        start = float(runs.start[current])
        following, since, why = _before(runs, end, made, parents, current, start)
        if why == DRIVER:
            following = _ended_last(by_end, ends, start)
            since = float(end[following]) if following >= 0 else start
        links.append(_Link(current, until, why, max(0.0, start - since)))
        if following < 0 or following == current:
            break
        current, until = following, min(start, float(end[following]))
    return links


def _before(
    runs: Runs, end: Column, made: Column, parents: Column, run: int, start: float
) -> tuple[int, float, str]:
    """What a run waited for last: the run, when that ended, and the kind of wait.

    DRIVER: it waited for none of the runs that the recording links it to.
    """
    found = (-1, start, DRIVER)
    sources = made[runs.first_source[run] : runs.first_source[run + 1]]
    sources = sources[sources >= 0]
    if len(sources):
        last = int(sources[np.argmax(end[sources])])
        if end[last] <= start:
            found = (last, float(end[last]), ARGUMENT)
    parent = int(parents[run])
    if found[0] < 0 and parent >= 0 and runs.start[parent] < start:
        found = (parent, start, PARENT)
    before = run - 1
    if before < 0 or runs.worker[before] != runs.worker[run]:
        return found
    since = float(end[before])
    at_once = since <= start <= since + _AT_ONCE_S
    if found[2] == ARGUMENT and found[1] < since <= start:
        return before, since, ROOM if at_once else DRIVER
    return (before, since, ROOM) if at_once and found[2] != ARGUMENT else found


def _ended_last(by_end: Column, ends: Column, start: float) -> int:
    """The run that had ended last when another one started; -1: none had."""
    before = int(np.searchsorted(ends, start, side="right")) - 1
    return int(by_end[before]) if before >= 0 else -1


def _longest(snapshot: Snapshot, links: list[_Link]) -> list[Step]:
    runs, names = snapshot.runs, node_names(snapshot)
    lengths = np.array([x.until - runs.start[x.run] for x in links])
    shown = sorted(np.argsort(-lengths, kind="stable")[:_STEPS_SHOWN].tolist())
    return [
        Step(
            function=snapshot.functions[int(runs.function[links[i].run])],
            start=float(runs.start[links[i].run]) - snapshot.begin,
            seconds=float(lengths[i]),
            gap=links[i].gap,
            waited_for=links[i].waited_for,
            node=name_of(names, snapshot.workers[int(runs.worker[links[i].run])].node),
        )
        for i in shown
    ]
