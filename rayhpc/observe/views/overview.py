"""The program in one line of figures: what was requested, granted and used."""

from __future__ import annotations

import shlex

import msgspec
import numpy as np

from rayhpc.exit_codes import in_words
from rayhpc.observe.snapshot import Snapshot
from rayhpc.observe.views.memory import memory
from rayhpc.observe.views.naming import node_names
from rayhpc.observe.views.usage import usage

# Clocks further apart than this make the figures of waiting wrong.
_SKEW_S = 1.0
_RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")


class Overview(msgspec.Struct, frozen=True):
    """The figures at the top.

    `started` is in seconds since 1970; `cpus_used` and `gpus_used` are means over the whole time,
    `nodes_used` is the sum of the nodes' busy shares; memory is in bytes, `memory_used` the most
    that all nodes used together and `memory_limit` their limits (both 0: not recorded).
    `time_left` is the time left in the allocation at the end, in seconds (None: no limit).
    `warnings` are sentences about what was wrong with the cluster, `notes` about data that is
    missing.
    """

    command: str
    job: str
    started: float
    seconds: float
    end: str
    nodes_asked: int
    nodes_given: int
    nodes_used: float
    cpus_given: float
    cpus_used: float
    gpus_given: float
    gpus_used: float
    memory_given: float
    memory_used: int
    memory_limit: int
    store_given: float
    tasks: int
    calls: int
    failed: int
    retried: int
    time_left: float | None
    dropped: int
    pending: list[str]
    warnings: list[str]
    notes: list[str]


def overview(snapshot: Snapshot) -> Overview:
    """The figures of a program."""
    job, runs = snapshot.job, snapshot.runs
    cpus, gpus, given, store = (snapshot.total(x) for x in _RESOURCES)
    used = usage(snapshot)
    calls = int(np.count_nonzero(runs.actor >= 0))
    code = job.exit_code
    return Overview(
        command=shlex.join(job.command),
        job=job.id,
        started=job.started,
        seconds=snapshot.span,
        end="runs" if code is None else in_words(code),
        nodes_asked=job.asked_nodes,
        nodes_given=len(snapshot.nodes),
        nodes_used=used.nodes_used,
        cpus_given=cpus,
        cpus_used=float(np.mean(used.at_work)),
        gpus_given=gpus,
        gpus_used=float(np.sum(runs.gpus * runs.seconds)) / snapshot.span,
        memory_given=given,
        memory_used=max(memory(snapshot).used),
        memory_limit=memory(snapshot).limit,
        store_given=float(sum(x.info.store_bytes for x in snapshot.nodes)) or store,
        tasks=len(runs) - calls,
        calls=calls,
        failed=int(np.count_nonzero(runs.failure >= 0)),
        retried=int(np.count_nonzero(runs.attempt > 0)),
        time_left=job.time_limit - snapshot.end if job.time_limit else None,
        dropped=snapshot.dropped,
        pending=[f"{count} waited: {reason}" for _, count, reason in snapshot.demand],
        warnings=_warnings(snapshot),
        notes=snapshot.notes,
    )


def _warnings(snapshot: Snapshot) -> list[str]:
    names = node_names(snapshot)
    found = []
    for node in snapshot.nodes:
        name = names[node.info.number]
        if node.errors:
            many = f"{node.errors:,} error{'s' * (node.errors != 1)}"
            found.append(f"{name}: {many} inside rayhpc, the last: {node.last_error}")
        if abs(node.skew) > _SKEW_S:
            found.append(f"{name}: its clock is {node.skew:+.1f} s off, and so are its times here")
    return found
