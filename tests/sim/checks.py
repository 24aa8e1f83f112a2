"""What must hold when everything is over: no process, raylet or head remembers anything.

Used by the tests of this package, after they have dropped their references.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

from rayhpc.exceptions import RayError
from rayhpc.runtime.worker.worker import Worker
from rayhpc.wire.address import describe
from rayhpc.wire.direct_links import HELD
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.cluster import KvPut
from rayhpc.wire.messages.common import UNIT

from .cluster import Cluster
from .node import SimNode
from .process import SimProcess
from .threads import Routine, drive


def outcomes(sim: Cluster, driver: SimProcess, refs: list[Any], limit: float = 60.0) -> list[Any]:
    """What `get` of each reference gives: a value, or the error it raises."""
    done: list[Any] = []

    def collect() -> Any:
        for ref in refs:
            try:
                done.append(driver.values([ref])[0])
            except RayError as error:
                # Its frames would hold the references we are about to drop.
                done.append(error.with_traceback(None))

    driver.start(collect)
    sim.world.run(lambda: len(done) == len(refs), limit)
    return done


def values(sim: Cluster, driver: SimProcess, refs: list[Any], limit: float = 60.0) -> list[Any]:
    """`outcomes`, none of which may be an error."""
    found = outcomes(sim, driver, refs, limit)
    for one in found:
        if isinstance(one, RayError):
            raise AssertionError(f"seed {sim.world.seed}: {one!r}\n" + sim.world.tail()) from one
    return found


def submit(driver: SimProcess, name: str, arguments: list[tuple[Any, ...]], **options: Any) -> list:
    """`name.remote(…)` once for each tuple of arguments."""
    with driver.turn():
        refs = [driver.submit(name, *args, **options) for args in arguments]
        driver.settle()
    return refs


def routine(
    sim: Cluster, driver: SimProcess, run: Routine | Callable[[], Any], limit: float = 60.0
) -> Any:
    """What a function, or a generator of conditions to wait for, comes to in a driver's thread."""
    done: list[Any] = []

    def finish() -> None:
        done.append(run() if callable(run) else drive(run))

    driver.start(finish)
    sim.world.run(lambda: bool(done), limit)
    return done[0]


def nothing_left(sim: Cluster, *holders: list[Any], after: float = 3.0) -> None:
    """Drop what the holders hold, wait, and see that everything is given back."""
    for holder in holders:
        holder.clear()
    gc.collect()
    for process in sim.processes():
        with process.turn():
            process.settle()
    sim.world.run_for(after)
    left = [x for p in sim.processes() for x in _of_process(p)]
    left += [x for n in sim.nodes.values() if n.alive for x in _of_node(n)]
    left += [
        f"head: actor {a.id.hex()} is {a.state}"
        for a in sim.head.actors.table
        if a.state != actors.DEAD
    ]
    assert not left, f"seed {sim.world.seed}: " + "\n".join(left) + "\n" + sim.world.tail()


def make_groups(sim: Cluster, driver: SimProcess, limit: float) -> list[bytes]:
    """Two placement groups of two bundles each, once both have been placed."""
    with driver.turn():
        groups = [driver.group([{"CPU": UNIT}] * 2, "SPREAD") for _ in range(2)]
        driver.settle()

    def are_there() -> bool:
        states = [driver.groups.get(x) for x in groups]
        return all(x is not None and x.state == actors.GROUP_CREATED for x in states)

    sim.world.run(are_there, limit)
    return groups


def remove_groups(sim: Cluster, driver: SimProcess, groups: list[bytes]) -> None:
    """Remove them, and check that nothing is left."""
    with driver.turn():
        for group in groups:
            driver.remove_group(group)
        driver.settle()
    nothing_left(sim)


def _of_process(process: SimProcess) -> Iterator[str]:
    own, store, sub = process.core.ownership, process.core.store, process.core.submitter
    shown = {
        "entries": {k.hex(): (e.count, e.state, e.borrowers) for k, e in own.table.items()},
        "borrows not acknowledged": own._unacknowledged,
        "messages held back": own._waiting_for_borrows,
        "borrowers": own._by_borrower,
        "arguments held": process.core.results._borrowing,
        "fetches": {**store._fetching, **store._looking, **store._creating},
        "views": [k.hex() for k, v in store._views.items() if v() is not None],
        "tasks": [p.name for p in sub.unfinished()],
        "leases": sub._by_worker,
        "requests": sub._requests,
        "calls": [p.name for p in process.core.callers.unfinished()],
        "small values and arguments": process.core.inline.total,
        "bytes that wait for room": process.core.windows.waiting_bytes,
        "frames held back": {
            describe(a): x
            for a, x in process.loop.transport.links._peers.items()
            if x.held or x.early or x.sending == HELD
        },
        "generators": process.core.streams._live,
    }
    if isinstance(process.core.role, Worker):
        shown["kept results"] = process.core.role.replies.kept()
    for what, value in shown.items():
        if value:
            yield f"{describe(process.core.me)}: {what}: {value}"


def _of_node(node: SimNode) -> Iterator[str]:
    raylet, store = node.raylet, node.objects
    shown = {
        "bytes": store.used,
        "directory": store._directory._owners,
        "objects leaving": store._directory._leaving,
        "wants": store._fetcher._wants,
        "leases": raylet.leases._leases,
        "requests": raylet.leases._requests,
        "tasks that wait": raylet.backlogs.demand(),
        "dispatch": raylet.dispatch._waiting,
        "revocables": raylet.dispatch._revocables,
        "counts": raylet.dispatch._counts,
        "actors": raylet.actors._actors,
        "bundles": raylet.bundles._mine,
        "resources": {
            name: (raylet.pool.free[name], total)
            for name, total in raylet.pool.total.items()
            if raylet.pool.free[name] != total
        },
    }
    for what, value in shown.items():
        if value:
            yield f"{describe(node.me)}: {what}: {value}"


def put_each_once(sim: Cluster, driver: SimProcess, count: int, limit: float) -> None:
    """Have a driver put so many keys; each must be new, as none is carried out twice."""
    answers: list[Any] = []

    def ask() -> None:
        for i in range(count):
            put = KvPut("s", str(i).encode(), b"v", overwrite=False)
            answers.append(driver.client.ask_head(put, bool))

    routine(sim, driver, ask, limit)
    assert answers == [True] * count
