"""The head: composes the cluster's tables, and dispatches every message and every death to them.

Used by `main` (with sockets) and by the simulation.  A state machine: messages, lost nodes and
the passage of time go in, messages come out through `send`; clock and randomness are passed in.
After each batch of messages the caller calls `advance`, and again at `deadline`; then it commits
the ledger, and only then does what was sent leave the process.

A head whose ledger has an earlier life's rows goes on where that life was: its tables read
themselves back, and its nodes have to come back (`membership`) as with the earlier head's death
they have lost their connections.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from rayhpc.head.actors import Actors
from rayhpc.head.config import HeadFacts
from rayhpc.head.groups import Groups
from rayhpc.head.jobs import Jobs
from rayhpc.head.kv import Kv
from rayhpc.head.ledger import Ledger, encode, number_key, number_of
from rayhpc.head.membership import Membership
from rayhpc.head.nodes import NodeRecord, Nodes
from rayhpc.head.questions import Questions
from rayhpc.wire import roles
from rayhpc.wire.address import Address, NodeNumber, ObjectId, node_of, process_of
from rayhpc.wire.messages import actors, cluster
from rayhpc.wire.messages.common import NodeInfo
from rayhpc.wire.messages.leases import NodeGone, Shutdown

# Messages accepted only from raylets.
_RAYLETS_ONLY = (
    cluster.Heartbeat,
    cluster.Leave,
    cluster.LinkBroken,
    cluster.JobStarted,
    cluster.ProcessDied,
    cluster.GetJob,
    actors.ActorStarted,
    actors.ActorEnded,
    actors.BundlesPrepared,
)
ENDED_KEPT = 20_000
_ENDED = b"ended"


class Head:
    """The control store of one cluster.

    Args:
        facts: what all nodes must have in common.
        send: sends a message to a raylet or process.
        now: a monotonic clock, in seconds.
        wall: seconds since the epoch.
        random: breaks ties.
        errors: how many errors have occurred inside the head, and the last one.
        ledger: keeps what must outlive this process.
        forget: called with a node that is gone: nothing need be kept for it any more.
    """

    def __init__(
        self,
        facts: HeadFacts,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
        wall: Callable[[], float],
        random: random.Random,
        errors: Callable[[], tuple[int, str]] = lambda: (0, ""),
        ledger: Ledger | None = None,
        forget: Callable[[NodeNumber], None] = lambda number: None,
    ) -> None:
        self._send = send
        self._forget = forget
        ledger = self._ledger = Ledger() if ledger is None else ledger
        self.ended = _ended_before(ledger)
        self.nodes = Nodes(ledger)
        self._gone = dict.fromkeys(number_of(key) for key, _ in ledger.rows("ended_processes"))
        self.membership = Membership(
            facts, self.nodes, send, now, wall, self._node_gone, self._node_ended, ledger
        )
        self.jobs = Jobs(send, wall, ledger)
        self.kv = Kv(ledger)
        self.groups = Groups(
            self.nodes,
            send,
            now,
            self._actor_at,
            self._is_gone,
            on_changed=self._group_changed,
            on_removed=self._group_removed,
            ledger=ledger,
        )
        self.actors = Actors(
            self.nodes,
            self.groups,
            send,
            now,
            wall,
            random,
            self._is_gone,
            on_dead=self.groups.actor_dead,
            ledger=ledger,
        )
        questions = Questions(
            facts.cluster_id,
            self.membership.started,
            self.nodes,
            self.actors,
            self.groups,
            self.jobs,
            self.kv,
            self.membership.history,
            errors,
            send,
        )
        self._handlers: dict[type, Callable[[Address, Any], None]] = {
            cluster.Heartbeat: self.membership.on_heartbeat,
            cluster.Leave: self.membership.on_leave,
            cluster.LinkBroken: self.membership.on_link_broken,
            cluster.JobStarted: self.jobs.on_started,
            cluster.GetJob: self.jobs.on_get,
            cluster.ProcessDied: self._on_process_died,
            cluster.EndCluster: lambda _, m: self.end(m.reason, m.code),
            cluster.Request: questions.on_request,
            actors.CreateActor: self.actors.on_create,
            actors.WatchActor: self.actors.on_watch,
            actors.KillActor: self.actors.on_kill,
            actors.ActorUnreferenced: self.actors.on_unreferenced,
            actors.ActorStarted: self.actors.on_started,
            actors.ActorEnded: self.actors.on_ended,
            actors.CreateGroup: self.groups.on_create,
            actors.RemoveGroup: self.groups.on_remove,
            actors.WatchGroup: self.groups.on_watch,
            actors.BundlesPrepared: self.groups.on_prepared,
        }

    # -- input -----------------------------------------------------------------------------------
    def join(
        self, message: cluster.RegisterNode
    ) -> cluster.Registered | cluster.RegistrationRefused:
        """A raylet's first message; the answer must reach it before anything else does."""
        if self.ended is not None:
            return cluster.RegistrationRefused(f"The cluster has ended: {self.ended.reason}")
        return self.membership.join(message)

    def rejoin(
        self, message: cluster.RejoinNode, received: int
    ) -> cluster.Rejoined | cluster.RegistrationRefused | NodeGone | Shutdown:
        """The first message of a raylet whose connection has broken; answered like `join`.

        Args:
            message: what it says.
            received: how many of its messages are on disk.
        """
        if self.ended is not None:
            return self.ended
        return self.membership.rejoin(message, received)

    def handle(self, source: Address, message: msgspec.Struct) -> None:
        """Any other message; if its node is not (any longer) a member, that node is told to end."""
        if self.ended is not None:
            return
        if not self.membership.heard(node_of(source)):
            self.membership.refuse(node_of(source))
            return
        if isinstance(message, _RAYLETS_ONLY) and process_of(source):
            return
        handler = self._handlers.get(type(message))
        if handler is not None and roles.admits(source, message, self._send):
            handler(source, message)

    def lost(self, number: NodeNumber) -> None:
        """The connection to a node has broken."""
        if self.ended is not None:
            self.nodes.alive.pop(number, None)
        else:
            self.membership.lost(number)

    def disconnected(self) -> Mapping[NodeNumber, NodeInfo]:
        """The nodes without a connection: their raylets may have ended, or dial anew."""
        alive = self.nodes.alive
        found = self.membership.disconnected
        return {number: alive[number].info for number in found if number in alive}

    def raylet_ended(self, number: NodeNumber) -> None:
        """Nothing listens any more where the raylet of a disconnected node did."""
        if self.ended is not None:
            self.nodes.alive.pop(number, None)
        else:
            self.membership.raylet_ended(number)

    def end(self, reason: str, code: int) -> None:
        """End the cluster: tell all raylets, and do nothing more afterwards."""
        if self.ended is None:
            self.ended = Shutdown(reason, code)
            self._ledger.put("meta", _ENDED, encode(self.ended))
            for node in self.nodes.alive.values():
                self._send(node.raylet, self.ended)

    # -- time ------------------------------------------------------------------------------------
    def advance(self) -> None:
        """Do what is due, and what the messages since the last call have made possible."""
        if self.ended is not None:
            return
        self.membership.advance()
        self.groups.advance()
        self.actors.advance()
        self.nodes.grown.clear()

    def deadline(self) -> float:
        """When `advance` must next be called at the latest, on the clock that was passed in."""
        if self.ended is not None:
            return math.inf
        others = (self.groups.deadline(), self.actors.deadline())
        return min([self.membership.deadline(), *(x for x in others if x is not None)])

    # -- deaths ----------------------------------------------------------------------------------
    def _on_process_died(self, source: Address, message: cluster.ProcessDied) -> None:
        if node_of(message.address) == node_of(source):
            self._process_gone(message.address, message.reason)

    def _process_gone(self, address: Address, reason: str) -> None:
        self._gone[address] = None
        self._ledger.put("ended_processes", number_key(address), b"")
        if len(self._gone) > ENDED_KEPT:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            self._ledger.drop("ended_processes", number_key(oldest))
        self.kv.processes_gone(0, address)
        self.groups.process_gone(address)
        self.actors.process_gone(address, reason)
        job = self.jobs.process_gone(address, reason)
        if job is not None:
            self.actors.job_over(job)
            self.groups.job_over(job, self._lives)

    def _node_gone(self, node: NodeRecord) -> None:
        reason = f"its node is gone: {node.ended}"
        self.kv.processes_gone(32, node.number)
        self.groups.node_gone(node)
        self.actors.node_gone(node)
        for driver in self.jobs.drivers_on(node.number):
            self._process_gone(driver, reason)
        self._forget(node.number)

    def _node_ended(self, number: NodeNumber) -> None:
        self.actors.node_ended(number)

    def _is_gone(self, address: Address) -> bool:
        return address in self._gone or node_of(address) not in self.nodes.alive

    def _group_changed(self, group: bytes) -> None:
        self.actors.waiting.wake_group(group)

    def _group_removed(self, group: bytes) -> None:
        self.actors.group_removed(group)

    def _actor_at(self, address: Address) -> ObjectId:
        actor = self.actors.table.at(address)
        return b"" if actor is None else actor.id

    def _lives(self, actor_id: ObjectId) -> bool:
        actor = self.actors.table.get(actor_id)
        return actor is not None and actor.state != actors.DEAD


def _ended_before(ledger: Ledger) -> Shutdown | None:
    """The cluster's end, if an earlier life of the head has begun it."""
    row = dict(ledger.rows("meta")).get(_ENDED)
    return None if row is None else _decode_end(row)


_decode_end = msgspec.msgpack.Decoder(Shutdown).decode
