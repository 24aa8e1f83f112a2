"""What every worker ran when, in as many segments as can be drawn and sent.

A few runs are shown individually; of many, those that a worker began within one short stretch form
one segment, which says how many they are, how busy they kept it, and which function took most time.
"""

from __future__ import annotations

import base64
import zlib

import msgspec
import numpy as np

from rayhpc.observe.snapshot import Column, Runs, Snapshot
from rayhpc.observe.views.naming import name_of, node_names

SEGMENTS_MOST = 60_000
_LANES_MOST = 8_000
_TICKS_EXACT = 2**30
_TICKS_MERGED = 2**20
_FAILED = 128


class Lane(msgspec.Struct, frozen=True):
    """One worker: its node, its process, and how many segments it has."""

    node: str
    pid: int
    segments: int


class Timeline(msgspec.Struct, frozen=True):
    """The segments of all lanes, lane by lane.

    `columns` is zlib's deflate of these columns, in base64, each of `segments` little-endian
    numbers: u32 ticks since the lane's previous start (for the first: since the program's), u32
    length in ticks, u32 number of runs, u16 number of the function that took most of it, u8 percent
    of it that was busy, plus 128 if a run failed.  A tick is `tick` seconds.  `is_merged` says that
    a segment may be several runs.
    """

    tick: float
    segments: int
    is_merged: bool
    functions: list[str]
    lanes: list[Lane]
    columns: str
    runs_left_out: int


def timeline(snapshot: Snapshot) -> Timeline:
    """The lanes and segments of a program."""
    runs = snapshot.runs
    chosen = runs.worker < _LANES_MOST
    is_merged = int(np.count_nonzero(chosen)) > SEGMENTS_MOST
    first = _merged(snapshot, chosen) if is_merged else np.flatnonzero(chosen)
    last = np.concatenate((first[1:], [int(np.count_nonzero(chosen))])).astype(np.int64)
    tick = max(1e-6, snapshot.span / (_TICKS_MERGED if is_merged else _TICKS_EXACT))
    lane = runs.worker[first]
    names = node_names(snapshot)
    counts = np.bincount(lane, minlength=min(len(snapshot.workers), _LANES_MOST))
    return Timeline(
        tick=tick,
        segments=len(first),
        is_merged=is_merged,
        functions=snapshot.functions,
        lanes=[
            Lane(name_of(names, worker.node), worker.pid, int(count))
            for worker, count in zip(snapshot.workers, counts, strict=False)
        ],
        columns=_columns(runs, first, last, snapshot.begin, tick),
        runs_left_out=int(np.count_nonzero(~chosen)),
    )


def _merged(snapshot: Snapshot, chosen: Column) -> Column:
    """Where each segment begins, if runs that start in one stretch on one worker are merged."""
    runs = snapshot.runs
    lanes = min(len(snapshot.workers), _LANES_MOST)
    stretch = snapshot.span * lanes / SEGMENTS_MOST
    start, worker = runs.start[chosen], runs.worker[chosen]
    slot = np.floor((start - snapshot.begin) / stretch)
    changes = (slot[1:] != slot[:-1]) | (worker[1:] != worker[:-1])
    return np.flatnonzero(np.concatenate(([True], changes)))


def _columns(runs: Runs, first: Column, last: Column, begin: float, tick: float) -> str:
    if not len(first):
        return base64.b64encode(zlib.compress(b"")).decode()
    count = last - first
    start = runs.start[first] - begin
    end = np.maximum.reduceat(runs.end[: last[-1]], first) - begin
    length = np.maximum(end - start, tick)
    share = np.minimum(1.0, np.add.reduceat(runs.seconds[: last[-1]], first) / length)
    failed = np.maximum.reduceat(runs.failure[: last[-1]], first) >= 0
    lane = runs.worker[first]
    ticks = np.rint(np.maximum(start, 0.0) / tick).astype(np.int64)
    is_first = np.concatenate(([True], lane[1:] != lane[:-1]))
    gap = np.where(is_first, ticks, ticks - np.concatenate(([0], ticks[:-1])))
    columns = (
        gap.astype("<u4"),
        np.maximum(1, np.rint(length / tick)).astype("<u4"),
        count.astype("<u4"),
        _most_of(runs, first, count).astype("<u2"),
        (np.rint(share * 100) + np.where(failed, _FAILED, 0)).astype("<u1"),
    )
    return base64.b64encode(zlib.compress(b"".join(x.tobytes() for x in columns))).decode()


def _most_of(runs: Runs, first: Column, count: Column) -> Column:
    """The function of each segment's longest run."""
    if int(count.max()) == 1:
        return runs.function[first]
    seconds = runs.seconds[: int(count.sum())]
    segment = np.repeat(np.arange(len(first)), count)
    is_longest = np.flatnonzero(seconds == np.maximum.reduceat(seconds, first)[segment])
    # Of several that are as long the last one counts, as it is written last.
    chosen = np.zeros(len(first), dtype=np.int64)
    chosen[segment[is_longest]] = is_longest
    return runs.function[chosen]
