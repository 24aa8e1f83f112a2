"""Where rows come from: the head's tables, the raylets' lists, and what each process owns.

Used by `util.state`, and by `compat` for Ray's private tables.  Read-only.  A process that does
not answer in time (its user code may hold the GIL) is left out, and that is logged.
"""

from __future__ import annotations

import concurrent.futures
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from rayhpc.api.groups.placement_group import stats_of
from rayhpc.api.objects.timeouts import LONGEST_S, seconds
from rayhpc.api.state import constructors, schema
from rayhpc.exceptions import RayError
from rayhpc.runtime.process import current, run_history
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.questions import PeerEndedError
from rayhpc.runtime.values.ids import JobID
from rayhpc.runtime.values.ids import worker_id as _worker_id
from rayhpc.wire.address import TASK_ID_BYTES, Address, describe, node_of, raylet_of
from rayhpc.wire.messages import cluster, listings, task_runs
from rayhpc.wire.messages.actors import ActorRow, GroupRow
from rayhpc.wire.messages.common import UNIT, Resources
from rayhpc.wire.messages.looking import LogPiece, ReadLog

logger = logging.getLogger("rayhpc")

# A process that runs user code answers late; the wait is shorter than for a raylet.
PROCESS_ANSWERS_S = 2.0
# So many of a task that is run again without end are listed, the latest.
_UNTOLD_ATTEMPTS = 10
# States of processes that may own something: an idle one has what its tasks have submitted, and
# objects.  One still starting must not be contacted.
_OWNING = ("leased", "actor", "idle", "attached")


class Sources:
    """Queries the cluster.

    Args:
        timeout: seconds to wait for the head or a raylet.
    """

    def __init__(self, timeout: float = 30.0) -> None:
        self._client: Client = current.client()
        limit = seconds("timeout", timeout)
        self._timeout = LONGEST_S if limit is None else limit
        self._nodes: dict[int, listings.NodeState] | None = None

    # -- raw rows -------------------------------------------------------------------------------
    def raw_nodes(self) -> dict[int, listings.NodeState]:
        """The nodes by number, dead ones included."""
        if self._nodes is None:
            found = self._ask_head(cluster.Nodes(), list[listings.NodeState])
            self._nodes = {x.info.number: x for x in found}
        return self._nodes

    def raw_actors(self) -> list[ActorRow]:
        """All actors in the head's tables."""
        found: list[ActorRow] = self._ask_head(cluster.ListActors(), list[ActorRow])
        return found

    def raw_groups(self) -> list[GroupRow]:
        """All placement groups in the head's tables."""
        found: list[GroupRow] = self._ask_head(cluster.ListGroups(), list[GroupRow])
        return found

    def raw_jobs(self) -> list[listings.JobRow]:
        """All jobs in the head's tables."""
        found: list[listings.JobRow] = self._ask_head(cluster.ListJobs(), list[listings.JobRow])
        return found

    def raw_workers(self, ended: bool = False) -> list[listings.WorkerRow]:
        """The processes of all living nodes; with `ended`, dead ones as well."""
        return list(self.of_raylets(cluster.Workers(ended), list[listings.WorkerRow]))

    # -- rows -------------------------------------------------------------------------------------
    def nodes(self) -> Iterator[schema.NodeState]:
        """The nodes."""
        for state in self.raw_nodes().values():
            info = state.info
            yield schema.NodeState(
                node_id=info.node_id,
                node_ip=info.ip,
                is_head_node=info.is_head,
                state="ALIVE" if state.alive else "DEAD",
                state_message=state.ended or None,
                node_name=info.hostname,
                resources_total=amounts(info.total),
                labels=dict(info.labels),
                resources_available=amounts(state.available),
                object_store_used=state.store_used,
                start_time_ms=millis(state.joined),
                end_time_ms=millis(state.left) or 0,
            )

    def actors(self) -> Iterator[schema.ActorState]:
        """The actors."""
        for row in self.raw_actors():
            spec = row.spec
            group = spec.placing.strategy.group
            yield schema.ActorState(
                actor_id=spec.actor.hex(),
                class_name=spec.class_name,
                state=row.state,
                job_id=job_id(spec.job),
                name=spec.name,
                node_id=row.node_id or None,
                pid=row.pid,
                ray_namespace=spec.namespace,
                serialized_runtime_env=spec.placing.environment.decode(),
                required_resources=amounts(spec.holding),
                death_cause=row.reason or None,
                is_detached=spec.detached,
                placement_group_id=group.hex() or None,
                repr_name=row.title,
                num_restarts=row.incarnation,
                start_time_ms=millis(row.started),
                end_time_ms=millis(row.ended),
            )

    def placement_groups(self) -> Iterator[schema.PlacementGroupState]:
        """The placement groups."""
        for row in self.raw_groups():
            yield schema.PlacementGroupState(
                placement_group_id=row.group.hex(),
                name=row.name,
                creator_job_id=job_id(row.job),
                state=row.state,
                bundles=self._bundles(row),
                stats=stats_of(row),
                strategy=row.strategy,
            )

    def jobs(self) -> Iterator[schema.JobState]:
        """The jobs."""
        for row in self.raw_jobs():
            job = row.job
            status = "RUNNING" if row.alive else ("FAILED" if row.reason else "SUCCEEDED")
            yield schema.JobState(
                job_id=job_id(job.number),
                submission_id=None,
                entrypoint=job.entrypoint,
                status=status,
                message=row.reason,
                start_time=millis(row.started),
                end_time=millis(row.ended),
                runtime_env=json.loads(job.environment) if job.environment else {},
                driver_info={
                    "id": job_id(job.number),
                    "node_ip_address": self._ip(node_of(job.driver)),
                    "pid": str(job.pid),
                },
            )

    def workers(self) -> Iterator[schema.WorkerState]:
        """The processes of all living nodes, and the most recent dead ones there."""
        for row in self.raw_workers(ended=True):
            node = node_of(row.address)
            yield schema.WorkerState(
                worker_id=worker_id(row.address) or "",
                is_alive=not row.exit_type,
                worker_type=row.kind.upper(),
                exit_type=row.exit_type or None,
                node_id=self.node_id(node) or "",
                ip=self._ip(node),
                pid=row.pid,
                state=row.state,
                actor_id=row.actor.hex() or None,
                exit_detail=row.exit_detail or None,
                start_time_ms=millis(row.started),
                end_time_ms=millis(row.ended) or 0,
            )

    def tasks(self, limit: int = 0) -> Iterator[schema.TaskState]:
        """What has run, for each node at least the last `limit` (0: all), what owners wait for, and
        actors' constructors.

        A warning says how many runs have been forgotten.
        """
        found: dict[tuple[bytes, int], task_runs.TaskEvent] = {}
        for event in self._of_processes(cluster.OwnedTasks(), list[task_runs.TaskEvent]):
            key = event.tid, event.attempt
            found[key] = _told_twice(found[key], event) if key in found else event
        history = run_history.read(self._client, limit, self._timeout).said(self._client)
        for event in sorted(history.runs, key=lambda x: x.started):
            owned = found.get((event.tid, event.attempt))
            found[event.tid, event.attempt] = event if owned is None else _joined(event, owned)
        if not history.dropped and (not limit or len(history.runs) < limit):
            for event in [x for x in found.values() if x.attempt]:
                _add_untold_attempts(found, event)
        pids = self._pids() if any(x.worker and not x.pid for x in found.values()) else {}
        actors = self.raw_actors()
        titles = {x.spec.actor: (x.spec.class_name, x.title) for x in actors if x.title}
        events = [*found.values(), *constructors.events(actors)]
        for event in sorted(events, key=lambda x: x.started or x.submitted):
            yield self._task(event, event.pid or pids.get(event.worker), titles)

    def objects(self) -> Iterator[schema.ObjectState]:
        """What each process refers to, and what is in each node's store."""
        rows = [
            *self._of_processes(cluster.OwnedObjects(), list[listings.ObjectRow]),
            *self.of_raylets(cluster.StoreObjects(), list[listings.ObjectRow]),
        ]
        for row in rows:
            yield schema.ObjectState(
                object_id=row.oid.hex(),
                object_size=row.size,
                task_status=row.state,
                attempt_number=0,
                reference_type=row.kind,
                call_site=row.call_site,
                type="STORE" if row.kind.startswith("STORE") else "WORKER",
                pid=row.pid,
                ip=self._ip(row.node),
                node_id=self.node_id(row.node) or "",
            )

    def log_piece(self, number: int, start: int, size: int) -> LogPiece:
        """So many bytes of a node's log from `start` on; the node by its number."""
        raylet, question = raylet_of(number), ReadLog(start, size)
        piece: LogPiece
        (piece,) = self._client.ask(raylet, question, list[LogPiece], self._timeout)
        return piece

    def node_id(self, number: int) -> str | None:
        """The id of a node by its number."""
        state = self.raw_nodes().get(number)
        return None if state is None else state.info.node_id

    # -- queries ----------------------------------------------------------------------------------
    def _ask_head(self, question: Any, kind: Any) -> Any:
        return self._client.ask_head(question, kind, self._timeout)

    def of_raylets(self, question: Any, kind: Any) -> Iterable[Any]:
        """The rows that the raylets of all living nodes return."""
        alive = [raylet_of(x.info.number) for x in self.raw_nodes().values() if x.alive]
        return self._of_all(alive, question, kind, self._timeout)

    def _of_processes(self, question: Any, kind: Any) -> Iterable[Any]:
        """The answers of this process and of every other that may own something."""
        own = list(self._client.answer(question))
        others = [
            row.address
            for row in self.raw_workers()
            if row.address != self._client.me and row.state in _OWNING
        ]
        timeout = min(PROCESS_ANSWERS_S, self._timeout)
        return [*own, *self._of_all(others, question, kind, timeout)]

    def _of_all(
        self, addresses: list[Address], question: Any, kind: Any, timeout: float
    ) -> list[Any]:
        """Ask all of these at once; those that do not answer are left out."""
        if not addresses:
            return []
        ask: Callable[[Address], Any] = lambda x: self._one(x, question, kind, timeout)  # noqa: E731
        with concurrent.futures.ThreadPoolExecutor(min(8, len(addresses))) as pool:
            return [row for rows in pool.map(ask, addresses) for row in rows]

    def _one(self, address: Address, question: Any, kind: Any, timeout: float) -> list[Any]:
        try:
            found: list[Any] = self._client.ask(address, question, kind, timeout)
        except PeerEndedError:
            return []  # it has died since the raylet listed it
        except RayError as error:
            logger.warning("the listing is missing the rows of %s: %s", describe(address), error)
            return []
        return found

    # -- details ----------------------------------------------------------------------------------
    def _ip(self, number: int) -> str:
        state = self.raw_nodes().get(number)
        return "" if state is None else state.info.ip

    def _bundles(self, row: GroupRow) -> list[dict[str, Any]]:
        nodes = row.nodes or [0] * len(row.bundles)
        return [
            {
                "bundle_id": f"{{{row.group.hex()}, {i}}}",
                "unit_resources": amounts(resources),
                "node_id": self.node_id(node) or "",
            }
            for i, (resources, node) in enumerate(zip(row.bundles, nodes, strict=False))
        ]

    def _pids(self) -> dict[Address, int]:
        return {row.address: row.pid for row in self.raw_workers()}

    def _task(
        self, event: task_runs.TaskEvent, pid: int | None, titles: dict[bytes, tuple[str, str]]
    ) -> schema.TaskState:
        """A row; `titles` are the class and the `__repr__` of the actors that define one."""
        name = event.name
        kind, title = titles.get(event.actor, ("", ""))
        if title and not event.function and name.startswith(f"{kind}."):
            name = title + name[len(kind) :]
        error_type = event.error_type
        if event.state == "FAILED" and not error_type:
            error_type = "TASK_EXECUTION_EXCEPTION"  # its worker reports only that it raised
        return schema.TaskState(
            task_id=event.tid[:TASK_ID_BYTES].hex(),
            attempt_number=event.attempt,
            name=name,
            state=event.state,
            job_id=job_id(event.job),
            actor_id=event.actor.hex() or None,
            type=event.kind,
            func_or_class_name=event.function or event.name,
            parent_task_id=event.parent[:TASK_ID_BYTES].hex() or None,
            node_id=self.node_id(node_of(event.worker)) if event.worker else None,
            worker_id=worker_id(event.worker),
            worker_pid=pid,
            error_type=error_type or None,
            error_message=event.error or None,
            required_resources=amounts(event.resources),
            creation_time_ms=millis(event.submitted),
            start_time_ms=millis(event.started),
            end_time_ms=millis(event.ended),
        )


def _add_untold_attempts(
    found: dict[tuple[bytes, int], task_runs.TaskEvent], event: task_runs.TaskEvent
) -> None:
    """The attempts before this one that no process tells of: each ended with its process."""
    for attempt in range(max(0, event.attempt - _UNTOLD_ATTEMPTS), event.attempt):
        if (event.tid, attempt) not in found:
            found[event.tid, attempt] = msgspec.structs.replace(
                event,
                attempt=attempt,
                state="FAILED",
                worker=0,
                pid=0,
                started=0.0,
                ended=0.0,
                error="Its process, or the node that it was on, has ended without telling.",
                error_type="WORKER_DIED",
            )


def _told_twice(one: task_runs.TaskEvent, other: task_runs.TaskEvent) -> task_runs.TaskEvent:
    """A call that its caller has sent; its actor knows that it waits there."""
    sent, there = (other, one) if one.state == task_runs.QUEUED else (one, other)
    return msgspec.structs.replace(sent, state=there.state)


def _joined(run: task_runs.TaskEvent, owned: task_runs.TaskEvent) -> task_runs.TaskEvent:
    """A run as its worker reports it, with the owner's knowledge of when and why."""
    return msgspec.structs.replace(
        run,
        state="FAILED" if owned.error_type else run.state,
        submitted=owned.submitted,
        error=owned.error,
        error_type=owned.error_type,
    )


def amounts(resources: Resources) -> dict[str, float]:
    """Resources in the form users write them."""
    return {name: amount / UNIT for name, amount in resources.items()}


def millis(seconds: float) -> int | None:
    """Milliseconds since the epoch; None: it has not happened."""
    return int(seconds * 1000) if seconds else None


def job_id(number: int) -> str:
    """The id of job `number` in hex."""
    return JobID.from_int(number).hex()


def worker_id(address: Address) -> str | None:
    """The id of a process in hex; None: no process."""
    return _worker_id(address).hex() if address else None
