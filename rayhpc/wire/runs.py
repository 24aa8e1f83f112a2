"""Packed records of what workers have run: many runs of one function are arrays and one name.

Packed by `runtime.task_log`, kept unread by `raylet.run_keeper`, unpacked by whatever shows runs.
About 40 bytes a run, and packing never loops over runs: a worker may finish 50,000 a second.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from rayhpc.wire.address import NONCE_BYTES, OBJECT_ID_BYTES
from rayhpc.wire.messages.task_runs import RunBatch, RunGroup, RunPage, TaskEvent
from rayhpc.wire.messages.tasks import Dependency

# The values of each run, in order: its id, start, seconds, `more` (for the parent and the size of
# large arguments), the references it took, how long it waited for others, when it was submitted;
# then what many runs share: name, job, actor (empty: a task), attempt, kind of failure (empty:
# none), CPUs and GPUs as a pair.
WIDTH = 13
_SHARED = 7
_LENGTH_BYTES = 4
# The length of a task's id without the nonce.
OWN_BYTES = OBJECT_ID_BYTES - NONCE_BYTES
# The ids of at most this many references that a run took are kept.
SOURCES_MOST = 64
_NOBODY = bytes(OBJECT_ID_BYTES)
# Between a run's own name and its function's.
_BOTH_NAMES = "\0"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RunBatch).decode


def both_names(name: str, function: str) -> str:
    """A run's own name and its function's, in the form a run keeps them."""
    return name + _BOTH_NAMES + function


def sources_of(dependencies: Sequence[Dependency]) -> bytes:
    """The ids of the references among a task's arguments, in the form a run keeps them."""
    if len(dependencies) == 1:  # most often; a third of the time of what follows
        return dependencies[0].oid[:OWN_BYTES]
    return b"".join([x.oid[:OWN_BYTES] for x in dependencies[:SOURCES_MOST]])


def pack(
    flat: list[Any], worker: int, pid: int, offset: float, tracebacks: dict[str, str] | None = None
) -> bytes:
    """What a worker has run, `WIDTH` values for each run; empty if there is nothing.

    Starts with its length, so that packed runs can be concatenated.
    """
    if not flat:
        return b""
    groups = [_group(key, part) for key, part in _equal(flat)]
    # All ids end with the cluster's nonce, 12 of the 28 bytes.
    nonce = flat[0][-NONCE_BYTES:]
    data = _encode(RunBatch(worker, pid, offset, groups, nonce, tracebacks or {}))
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def _equal(flat: list[Any]) -> Iterable[tuple[tuple[Any, ...], list[Any]]]:
    """The runs, grouped by everything that can be shared."""
    columns = [flat[x::WIDTH] for x in range(_SHARED, WIDTH)]
    if all(x.count(x[0]) == len(x) for x in columns):
        return [(tuple(x[0] for x in columns), flat)]
    found: dict[tuple[Any, ...], list[Any]] = {}
    for i, key in enumerate(zip(*columns, strict=True)):
        found.setdefault(key, []).extend(flat[i * WIDTH : (i + 1) * WIDTH])
    return found.items()


def _group(key: tuple[Any, ...], flat: list[Any]) -> RunGroup:
    name, job, actor, attempt, error, (cpus, gpus) = key
    name, _, function = name.partition(_BOTH_NAMES)
    more, sources, waited = flat[3::WIDTH], flat[4::WIDTH], flat[5::WIDTH]
    submitted = flat[6::WIDTH]
    parents: list[bytes] = []
    sent: list[int] = []
    if any(more):
        parents = [x.parent if x is not None else b"" for x in more]
        sent = [x.packed for x in more if x is not None and x.packed]
    took = any(sources)
    return RunGroup(
        name,
        job,
        actor,
        attempt,
        error,
        cpus,
        gpus,
        b"".join([x[:OWN_BYTES] for x in flat[0::WIDTH]]),
        array("d", flat[1::WIDTH]).tobytes(),
        array("d", flat[2::WIDTH]).tobytes(),
        b"".join([x or _NOBODY for x in parents]) if any(parents) else b"",
        array("d", waited).tobytes() if any(waited) else b"",
        b"".join(sources) if took else b"",
        array("H", [len(x) // OWN_BYTES for x in sources]).tobytes() if took else b"",
        len(sent),
        sum(sent),
        array("d", submitted).tobytes() if any(submitted) else b"",
        function,
    )


def unpack(pages: Iterable[RunPage]) -> Iterator[TaskEvent]:
    """The runs in the pages, in the order they were reported."""
    for batch in batches(pages):
        try:
            found = list(_runs(batch))
        except ValueError:
            continue  # a worker's user code may have overwritten it
        yield from found


def batches(pages: Iterable[RunPage]) -> Iterator[RunBatch]:
    """The batches in the pages, in the order they were reported, without unreadable ones."""
    for page in pages:
        for chunk in page.chunks:
            at = 0
            while at < len(chunk):
                start = at + _LENGTH_BYTES
                at = start + int.from_bytes(chunk[at:start], "big")
                try:
                    yield _decode(chunk[start:at])
                except msgspec.DecodeError:
                    continue  # a worker's user code may have overwritten it


def _runs(batch: RunBatch) -> Iterator[TaskEvent]:
    for group in batch.groups:
        starts, lengths = array("d", group.starts), array("d", group.seconds)
        submitted = array("d", group.submitted or bytes(len(group.starts)))
        for i, (start, seconds) in enumerate(zip(starts, lengths, strict=True)):
            own = i * OWN_BYTES
            parent = group.parents[i * OBJECT_ID_BYTES : (i + 1) * OBJECT_ID_BYTES]
            begun = start + batch.offset
            yield TaskEvent(
                tid=group.tids[own : own + OWN_BYTES] + batch.nonce,
                name=group.name,
                kind="ACTOR_TASK" if group.actor else "NORMAL_TASK",
                state="FAILED" if group.error else "FINISHED",
                job=group.job,
                worker=batch.worker,
                pid=batch.pid,
                submitted=submitted[i],
                started=begun,
                ended=begun + seconds,
                actor=group.actor,
                parent=b"" if parent == _NOBODY else parent,
                attempt=group.attempt,
                error=group.error,
                function=group.function,
            )
