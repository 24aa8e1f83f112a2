"""A recording as a snapshot: the packed runs become columns.

Used by everything that shows a cluster.  Loops over batches of runs, never over single runs.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from rayhpc.observe.recording import Recording
from rayhpc.observe.snapshot import UNIT, Column, Runs, Sent, Snapshot, Worker
from rayhpc.wire import runs as packed
from rayhpc.wire.address import OBJECT_ID_BYTES, SEQUENCE_MASK, node_of
from rayhpc.wire.messages.task_runs import RunBatch, RunGroup

_MIX = np.uint64(0x9E3779B97F4A7C15)
_MASK = np.uint64(SEQUENCE_MASK)


def snapshot(recording: Recording) -> Snapshot:
    """The snapshot of what a recording says."""
    found = _Reader()
    for batch in packed.batches(recording.pages):
        found.add(batch)
    runs = found.runs()
    job = recording.job
    return Snapshot(
        job=job,
        begin=job.started,
        end=max(job.ended, job.started),
        nodes=recording.nodes,
        history=recording.history,
        actors=recording.actors,
        ended_workers=recording.ended_workers,
        demand=recording.demand,
        functions=list(found.functions),
        workers=[Worker(address, node_of(address), pid) for address, pid in found.workers],
        failures=list(found.failures),
        tracebacks=found.tracebacks,
        actor_ids=list(found.actors),
        sent={x: Sent(*of) for x, of in found.sent.items()},
        runs=runs,
        dropped=sum(x.dropped for x in recording.pages if x.following < 0),
        notes=recording.notes,
    )


class _Reader:
    """Collects the groups of runs, and concatenates their contents once."""

    def __init__(self) -> None:
        self.functions: dict[str, int] = {}
        self.workers: dict[tuple[int, int], int] = {}
        self.failures: dict[str, int] = {}
        self.actors: dict[bytes, int] = {}
        self.tracebacks: dict[str, str] = {}
        self.sent: dict[int, tuple[int, int]] = {}
        self._groups: list[RunGroup] = []
        # The values that all runs of a group share: one row per group.
        self._shared: list[tuple[float, ...]] = []

    def add(self, batch: RunBatch) -> None:
        """Add one report of one worker."""
        if batch.tracebacks:
            self.tracebacks.update(batch.tracebacks)
        worker = self.workers.setdefault((batch.worker, batch.pid), len(self.workers))
        for group in batch.groups:
            if is_whole(group):
                self._groups.append(group)
                self._shared.append(self._numbers(group, worker, batch.offset))

    def _numbers(self, group: RunGroup, worker: int, offset: float) -> tuple[float, ...]:
        function = self.functions.setdefault(group.name, len(self.functions))
        failure = self.failures.setdefault(group.error, len(self.failures)) if group.error else -1
        actor = self.actors.setdefault(group.actor, len(self.actors)) if group.actor else -1
        if group.sent:
            calls, size = self.sent.get(function, (0, 0))
            self.sent[function] = (calls + group.sent, size + group.sent_bytes)
        return offset, function, worker, group.attempt, failure, actor, group.cpus, group.gpus

    def runs(self) -> Runs:
        """All runs as columns, by worker and start."""
        groups = self._groups
        sizes = np.array([len(x.starts) // 8 for x in groups], dtype=np.int64)
        shared = np.array(self._shared, dtype=np.float64).reshape(-1, 8)
        of_group = np.repeat(np.arange(len(groups)), sizes)
        start = np.frombuffer(b"".join([x.starts for x in groups])) + shared[of_group, 0]
        worker = shared[of_group, 2].astype(np.int32)
        order = np.lexsort((start, worker))
        of_group = of_group[order]
        counts = np.frombuffer(
            b"".join([x.source_counts or bytes(len(x.starts) // 4) for x in groups]), dtype="<u2"
        )
        sources = _keys(b"".join([x.sources for x in groups]), packed.OWN_BYTES)
        sources, first = _reordered(sources, counts.astype(np.int64), order)
        parents = _filled([x.parents for x in groups], sizes, OBJECT_ID_BYTES)
        waited = _filled([x.waited for x in groups], sizes, 8)
        submitted = _filled([x.submitted for x in groups], sizes, 8)
        return Runs(
            start=start[order],
            seconds=np.frombuffer(b"".join([x.seconds for x in groups]))[order],
            waited=np.frombuffer(waited)[order],
            submitted=np.frombuffer(submitted)[order],
            function=shared[of_group, 1].astype(np.int32),
            worker=worker[order],
            attempt=shared[of_group, 3].astype(np.int32),
            failure=shared[of_group, 4].astype(np.int32),
            actor=shared[of_group, 5].astype(np.int32),
            cpus=shared[of_group, 6] / UNIT,
            gpus=shared[of_group, 7] / UNIT,
            key=_keys(b"".join([x.tids for x in groups]), packed.OWN_BYTES)[order],
            parent=_keys(parents, OBJECT_ID_BYTES)[order],
            sources=sources,
            first_source=first,
        )


def is_whole(group: RunGroup) -> bool:
    """Whether its arrays are consistent: user code may have corrupted a worker's memory."""
    size = len(group.starts)
    if size % 8 or size != len(group.seconds) or 2 * size != len(group.tids):
        return False
    if group.waited and len(group.waited) != size:
        return False
    if group.submitted and len(group.submitted) != size:
        return False
    if group.parents and 8 * len(group.parents) != OBJECT_ID_BYTES * size:
        return False
    if not group.sources and not group.source_counts:
        return True
    took = array("H", group.source_counts) if len(group.source_counts) * 4 == size else (-1,)
    return sum(took) * packed.OWN_BYTES == len(group.sources)


def _filled(parts: list[bytes], sizes: Column, width: int) -> bytes:
    """The parts of all groups, with zeros for groups that have none."""
    if not any(parts):
        return bytes(int(sizes.sum()) * width)
    whole = zip(parts, sizes.tolist(), strict=True)
    return b"".join([part or bytes(size * width) for part, size in whole])


def _keys(data: bytes, width: int) -> Column:
    """A number for each task id, the same for all results of a task; 0 for no id."""
    words = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)[:, :16]
    numbers = np.ascontiguousarray(words).view(">u8").astype(np.uint64)
    with np.errstate(over="ignore"):
        return numbers[:, 0] * _MIX ^ (numbers[:, 1] & _MASK)


def _reordered(values: Column, counts: Column, order: Any) -> tuple[Column, Column]:
    """The values of rows of varying length, with the rows reordered; and where each row begins."""
    before = np.concatenate(([0], np.cumsum(counts)))
    first = np.concatenate(([0], np.cumsum(counts[order])))
    if not len(values):
        return values, first
    places = np.repeat(before[:-1][order] - first[:-1], counts[order]) + np.arange(first[-1])
    return values[places], first
