"""The live views: what a cluster has and is doing at this moment, as rows.

Used by `rayhpc top` and `rayhpc dashboard`.  A pure function of one look; the order of rows does
not change from look to look, sorting is left to the caller.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from rayhpc.observe.live.look import Look
from rayhpc.observe.snapshot import UNIT
from rayhpc.observe.views.naming import names_of
from rayhpc.wire.messages.actors import DEAD, ActorRow
from rayhpc.wire.messages.listings import NodeState

ACTORS_MOST = 1_000
# The attribute that names a row, by part.
KEYS = {"nodes": "number", "functions": "name", "actors": "actor", "programs": "number"}


class ClusterNow(msgspec.Struct, frozen=True):
    """The cluster in figures; times in seconds, memory in bytes.

    `rate` is the recent number of runs ended per second, `waiting` what waits for resources,
    `behind` how many nodes have older runs that are still being read, `time_left` that of the
    allocation (None: no limit is known).
    """

    address: str
    cluster_id: str
    at: float
    started: float
    nodes: int
    nodes_gone: int
    cpus: float
    cpus_used: float
    gpus: float
    gpus_used: float
    store: int
    store_used: int
    spilled: int
    workers: int
    programs: int
    runs: int
    rate: float
    failed: int
    waiting: int
    behind: int
    time_left: float | None
    errors: int
    last_error: str


class NodeNow(msgspec.Struct, frozen=True):
    """One node; amounts as in `ClusterNow`.

    `memory` is the node's limit and `memory_used` what counts against it, in bytes (both 0: not
    known), `memory_held` what tasks and actors have requested of it.  `state` is alive, draining or
    gone, `ended` why it is gone; `pulled` and `spilled_ever` are the bytes pulled from other nodes
    and spilled to disk since it started.
    """

    number: int
    name: str
    ip: str
    is_head: bool
    state: str
    ended: str
    cpus: float
    cpus_used: float
    gpus: float
    gpus_used: float
    memory: int
    memory_used: int
    memory_held: float
    store: int
    store_used: int
    spilled: int
    workers: int
    waiting: int
    pulled: int
    spilled_ever: int
    errors: int
    last_error: str


class FunctionNow(msgspec.Struct, frozen=True):
    """One function or method since the cluster's start; times in seconds, `rate` in runs/second.

    `queued` is how long a run waited on average to begin after it was submitted.  `p50` and
    `p99` are accurate to within a tenth.
    """

    name: str
    rate: float
    count: int
    failed: int
    retried: int
    seconds: float
    waited: float
    queued: float
    p50: float
    p99: float
    longest: float


class ActorNow(msgspec.Struct, frozen=True):
    """One actor; `actor` is its id in hex, `busy` the share of its life in which a call ran."""

    actor: str
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


class PendingNow(msgspec.Struct, frozen=True):
    """What is pending: how many want the same, in units (CPUs, bytes), and why they wait."""

    wants: dict[str, float]
    count: int
    reason: str


class ProgramNow(msgspec.Struct, frozen=True):
    """One program (driver); times in seconds since 1970, `ended` 0 while it is attached."""

    number: int
    command: str
    pid: int
    started: float
    ended: float
    reason: str


class Now(msgspec.Struct, frozen=True):
    """All live views."""

    cluster: ClusterNow
    nodes: list[NodeNow]
    functions: list[FunctionNow]
    actors: list[ActorNow]
    actors_left_out: int
    pending: list[PendingNow]
    programs: list[ProgramNow]


def now(look: Look) -> Now:
    """The live views of a look."""
    names = names_of(look.state.nodes)
    nodes = [_node(x, names) for x in look.state.nodes]
    functions = _functions(look)
    actors = sorted(look.actors, key=lambda x: (x.state == DEAD, -x.started))
    return Now(
        cluster=_cluster(look, nodes, functions),
        nodes=nodes,
        functions=functions,
        actors=[_actor(x, look, names) for x in actors[:ACTORS_MOST]],
        actors_left_out=max(0, len(actors) - ACTORS_MOST),
        pending=_pending(look.state.demand),
        programs=[
            ProgramNow(x.job.number, x.job.entrypoint, x.job.pid, x.started, x.ended, x.reason)
            for x in look.jobs
        ],
    )


def _cluster(look: Look, nodes: list[NodeNow], functions: list[FunctionNow]) -> ClusterNow:
    state = look.state
    living = [x for x in nodes if x.state != "gone"]
    total: Counter[str] = Counter()
    for each in living:
        for name in ("cpus", "cpus_used", "gpus", "gpus_used", "store", "store_used", "spilled"):
            total[name] += getattr(each, name)
    return ClusterNow(
        address=look.address,
        cluster_id=state.cluster_id,
        at=look.at,
        started=state.started,
        nodes=len(living),
        nodes_gone=len(nodes) - len(living),
        cpus=total["cpus"],
        cpus_used=total["cpus_used"],
        gpus=total["gpus"],
        gpus_used=total["gpus_used"],
        store=total["store"],
        store_used=total["store_used"],
        spilled=total["spilled"],
        workers=sum(x.workers for x in living),
        programs=state.jobs,
        runs=look.tally.runs,
        rate=sum(x.rate for x in functions),
        failed=sum(x.failed for x in functions),
        waiting=sum(count for _, count, _ in state.demand),
        behind=look.behind,
        time_left=look.time_limit - look.at if look.time_limit else None,
        errors=state.errors + sum(x.errors for x in nodes),
        last_error=next((x for x in [state.last_error, *(n.last_error for n in nodes)] if x), ""),
    )


def _node(node: NodeState, names: dict[int, str]) -> NodeNow:
    info = node.info

    def used(name: str) -> float:
        free = node.available.get(name, 0) if node.alive else info.total.get(name, 0)
        return max(0, info.total.get(name, 0) - free) / UNIT

    return NodeNow(
        number=info.number,
        name=names[info.number],
        ip=info.ip,
        is_head=info.is_head,
        state="gone" if not node.alive else "draining" if node.draining else "alive",
        ended=node.ended,
        cpus=info.total.get("CPU", 0) / UNIT,
        cpus_used=used("CPU"),
        gpus=info.total.get("GPU", 0) / UNIT,
        gpus_used=used("GPU"),
        memory=node.memory_limit,
        memory_used=node.memory,
        memory_held=used("memory"),
        store=info.store_bytes,
        store_used=node.store_used,
        spilled=node.store_spilled,
        workers=node.workers,
        waiting=node.pending,
        pulled=node.moved.pulled_bytes,
        spilled_ever=node.moved.spilled_bytes,
        errors=node.errors,
        last_error=node.last_error,
    )


def _functions(look: Look) -> list[FunctionNow]:
    rates = look.tally.rates()
    return [
        FunctionNow(
            name=name,
            rate=rates.get(name, 0.0),
            count=of.count,
            failed=of.failed,
            retried=of.retried,
            seconds=of.seconds,
            waited=of.waited,
            queued=of.queued / max(1, of.queued_of),
            p50=of.quantile(0.5),
            p99=of.quantile(0.99),
            longest=of.longest,
        )
        for name, of in look.tally.functions.items()
    ]


def _actor(row: ActorRow, look: Look, names: dict[int, str]) -> ActorNow:
    of = look.tally.actors.get(row.spec.actor)
    life = (row.ended or look.at) - row.started if row.started else 0.0
    nodes = {x.info.node_id: names[x.info.number] for x in look.state.nodes}
    return ActorNow(
        actor=row.spec.actor.hex(),
        class_name=row.spec.class_name,
        name=row.spec.name,
        state=row.state,
        node=nodes.get(row.node_id, ""),
        pid=row.pid,
        calls=of.calls if of else 0,
        failed=of.failed if of else 0,
        seconds=of.seconds if of else 0.0,
        busy=of.seconds / life if of and life > 0 else 0.0,
        restarts=max(0, row.incarnation - 1),
        reason=row.reason,
    )


def _pending(demand: list[tuple[dict[str, int], int, str]]) -> list[PendingNow]:
    def plain(wants: dict[str, int]) -> dict[str, Any]:
        # Resources that merely name a node tell a reader nothing.
        return {k: v / UNIT for k, v in wants.items() if not k.startswith("node:")}

    return [PendingNow(plain(wants), count, reason) for wants, count, reason in demand]
