"""Answers requests to the head: tables, usage, names, key-value.

Used by `head`.  Reads the tables of the other modules and changes only the key-value store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.head.actors import Actors
from rayhpc.head.groups import Groups
from rayhpc.head.history import History
from rayhpc.head.jobs import Jobs
from rayhpc.head.kv import Kv
from rayhpc.head.load import load_of
from rayhpc.head.nodes import Nodes
from rayhpc.wire.address import Address, node_of
from rayhpc.wire.messages import cluster, listings
from rayhpc.wire.messages.actors import DEAD
from rayhpc.wire.messages.common import Resources

_encode = msgspec.msgpack.Encoder().encode
_LATER = object()


class Questions:
    """Turns a `Request` into a `Reply`.

    Args:
        cluster_id: this cluster's id.
        started: when it started, seconds since the epoch.
        nodes, actors, groups, jobs, kv: the tables.
        history: the nodes over time.
        errors: how many errors have occurred inside the head, and the last one.
        send: sends a message.
    """

    def __init__(
        self,
        cluster_id: str,
        started: float,
        nodes: Nodes,
        actors: Actors,
        groups: Groups,
        jobs: Jobs,
        kv: Kv,
        history: History,
        errors: Callable[[], tuple[int, str]],
        send: Callable[[Address, msgspec.Struct], None],
    ) -> None:
        self._cluster_id = cluster_id
        self._started = started
        self._nodes = nodes
        self._actors = actors
        self._groups = groups
        self._jobs = jobs
        self._kv = kv
        self._errors = errors
        self._send = send
        self._answers: dict[type, Callable[[Address, int, Any], Any]] = {
            cluster.Nodes: lambda *_: list(nodes.states()),
            cluster.ClusterUsage: lambda *_: self._usage(),
            cluster.ListActors: lambda *_: [actor.row() for actor in actors.table],
            cluster.ListGroups: lambda *_: groups.rows(),
            cluster.NodesOverTime: lambda *_: history.rows(),
            cluster.Load: lambda *_: load_of(nodes, actors, groups),
            cluster.ListJobs: lambda *_: jobs.rows(),
            cluster.JobRaylets: lambda _, __, q: self._raylets_of(q.job),
            cluster.KvPut: self._put,
            cluster.KvGet: self._get,
            cluster.KvDelete: lambda _, __, q: kv.delete(q.space, q.key, q.prefix),
            cluster.KvKeys: lambda _, __, q: kv.keys(q.space, q.prefix),
            cluster.FindActor: self._find,
            cluster.NamedActors: lambda _, __, q: actors.table.names(q.namespace),
        }

    def on_request(self, source: Address, message: cluster.Request) -> None:
        """Answer a question, now or (for a key that is waited for) later."""
        answer = self._answers.get(type(message.question))
        if answer is None:
            text = (
                f"The head cannot answer {type(message.question).__name__}: ask a raylet or a "
                "process."
            )
            self._send(source, cluster.Reply(message.token, error=text))
            return
        found = answer(source, message.token, message.question)
        if found is not _LATER:
            self._send(source, cluster.Reply(message.token, _encode(found)))

    def _put(self, _: Address, __: int, question: cluster.KvPut) -> bool:
        is_new, waiters = self._kv.put(
            question.space, question.key, question.value, question.overwrite
        )
        for waiter, token in waiters:
            self._send(waiter, cluster.Reply(token, _encode(question.value)))
        return is_new

    def _get(self, source: Address, token: int, question: cluster.KvGet) -> Any:
        value = self._kv.get(question.space, question.key)
        if value is None and question.wait:
            self._kv.wait(question.space, question.key, (source, token))
            return _LATER
        return value

    def _find(self, _: Address, __: int, question: cluster.FindActor) -> Any:
        actor = self._actors.table.named(question.namespace, question.name)
        return None if actor is None or actor.state == DEAD else actor.row(with_methods=True)

    def _raylets_of(self, job: int) -> list[Address]:
        return [x for x in self._jobs.raylets_of(job) if node_of(x) in self._nodes.alive]

    def _usage(self) -> listings.ClusterState:
        errors, last_error = self._errors()
        return listings.ClusterState(
            cluster_id=self._cluster_id,
            started=self._started,
            nodes=list(self._nodes.states()),
            actors={k: n for k, n in self._actors.table.counts.items() if n},
            groups=self._groups.counts(),
            jobs=self._jobs.running(),
            demand=self._demand(),
            errors=errors,
            last_error=last_error,
        )

    def _demand(self) -> list[tuple[Resources, int, str]]:
        """Everything that is pending: leases at the raylets, actors and bundles here."""
        found: dict[tuple[tuple[tuple[str, int], ...], str], int] = {}

        def note(resources: Resources, count: int, reason: str) -> None:
            key = (tuple(sorted(resources.items())), reason)
            found[key] = found.get(key, 0) + count

        for node in self._nodes.alive.values():
            for resources, count, reason in node.last.demand:
                note(resources, count, reason)
        for kind in self._actors.waiting.kinds():
            note(kind.demand.placing, len(kind.actors), f"actor: {kind.reason or 'being placed'}")
        for resources, reason in self._groups.pending():
            note(resources, 1, f"placement group: {reason}")
        return [(dict(resources), count, reason) for (resources, reason), count in found.items()]
