"""What a cluster has done, taken down before it ends.

Used by `head_rank` after the program, and by `rayhpc report` and `rayhpc metrics` of a cluster that
runs.  Asks, like every observer; what does not answer in time is left out, and a note says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rayhpc.launch.observer import Observer
from rayhpc.observe.recording import VERSION, ActorFacts, JobFacts, Recording
from rayhpc.wire.address import Address, raylet_of
from rayhpc.wire.messages.actors import ActorRow
from rayhpc.wire.messages.cluster import ListActors, ListJobs, NodesOverTime, Workers
from rayhpc.wire.messages.listings import JobRow, NodeHistory, WorkerRow
from rayhpc.wire.messages.task_runs import RunPage, TaskRuns

# How long the workers of a program that has ended may take to tell what they ran last.
SETTLE_S = 0.3
_LOOK_EVERY_S = 0.02


def take_down(
    observer: Observer, job: JobFacts, within_s: float, pause: Callable[[float], None] = time.sleep
) -> Recording:
    """Everything that the cluster knows of what it did.

    Args:
        observer: attached to it.
        job: the program.
        within_s: how long it may take, in seconds.
        pause: waits so many seconds.

    Raises:
        LaunchError: the head does not answer.
    """
    deadline = time.monotonic() + within_s
    _settle(observer, min(deadline, time.monotonic() + SETTLE_S), pause)
    state = observer.state()
    actors = observer.ask(ListActors(), list[ActorRow])
    history = observer.ask(NodesOverTime(), list[NodeHistory])
    raylets = {raylet_of(x.info.number): x.info for x in state.nodes if x.alive}
    pages, silent = _pages(observer, list(raylets), deadline)
    workers = observer.ask_each(
        raylets, lambda _: Workers(ended=True), list[WorkerRow], _left(deadline)
    )
    notes = [f"{x.info.hostname}: what ran there is not known" for x in state.nodes if not x.alive]
    notes += [f"{raylets[x].hostname}: it did not answer in time" for x in silent]
    if state.errors:
        notes.append(f"{state.errors} errors inside the head, the last: {state.last_error}")
    return Recording(
        version=VERSION,
        job=job,
        nodes=state.nodes,
        history=history,
        actors=[actor_facts(x) for x in actors],
        ended_workers=[x for rows in workers.values() for x in rows if x.state == "dead"],
        demand=state.demand,
        pages=pages,
        notes=notes,
    )


def _settle(observer: Observer, deadline: float, pause: Callable[[float], None]) -> None:
    """Wait until the program is over and its workers are gone: they report as they go.

    The cluster hears of a driver's end a little later than whoever has started it.
    """
    while time.monotonic() < deadline:
        jobs = observer.ask(ListJobs(), list[JobRow])
        over = {x.job.number for x in jobs if not x.alive}
        if len(over) == len(jobs) and not _has_workers(observer, over):
            return
        pause(_LOOK_EVERY_S)


def _has_workers(observer: Observer, jobs: set[int]) -> bool:
    raylets = [raylet_of(x.info.number) for x in observer.nodes() if x.alive]
    rows = observer.ask_each(raylets, lambda _: Workers(), list[WorkerRow], SETTLE_S)
    return any(x.kind == "worker" and x.job in jobs for found in rows.values() for x in found)


def _pages(
    observer: Observer, raylets: list[Address], deadline: float
) -> tuple[list[RunPage], set[Address]]:
    """All pages that these have, and who did not give all of theirs in time."""
    pages: list[RunPage] = []
    silent: set[Address] = set()
    asked = dict.fromkeys(raylets, TaskRuns())
    while asked:
        found = observer.ask_each(asked, asked.__getitem__, list[RunPage], _left(deadline))
        silent.update(asked.keys() - found.keys())
        for rows in found.values():
            pages += rows
        asked = {
            whom: TaskRuns(after=rows[-1].following)
            for whom, rows in found.items()
            if rows[-1].following >= 0
        }
    return pages, silent


def _left(deadline: float) -> float:
    return max(0.05, deadline - time.monotonic())


def actor_facts(row: ActorRow) -> ActorFacts:
    """What a recording has of an actor."""
    spec = row.spec
    return ActorFacts(
        spec.actor,
        spec.class_name,
        spec.name,
        row.state,
        row.node_id,
        row.pid,
        row.incarnation,
        row.reason,
        row.started,
        row.ended,
    )
