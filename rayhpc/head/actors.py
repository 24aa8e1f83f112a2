"""The life cycle of every actor: PENDING_CREATION → ALIVE ⇄ RESTARTING → DEAD.

Used by `head`, which forwards messages, deaths and the passage of time.  `starting` decides which
node an actor goes to.  An actor has at most one incarnation at a time: the next one is sent to a
node only once the previous one's process, or its node, is known to be gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import msgspec

from rayhpc.head.actor_table import ActorRecord, ActorTable, lightened
from rayhpc.head.groups import Groups
from rayhpc.head.ledger import Ledger
from rayhpc.head.nodes import NodeRecord, Nodes
from rayhpc.head.starting import Starter
from rayhpc.head.waiting import Waiting
from rayhpc.head.watchers import Watchers
from rayhpc.wire.address import Address, NodeNumber, ObjectId, node_of, owner_of
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.actors import ALIVE, DEAD, PENDING, RESTARTING

# How many actors that were killed before their registration are remembered.
KILLED_EARLY_MAX = 10_000
_KILLED = "it was killed by `ray.kill`"


class Actors:
    """All actors of the cluster.

    Args:
        nodes: the table of nodes.
        groups: the placement groups.
        send: sends a message.
        now: a monotonic clock, in seconds.
        wall: seconds since the epoch.
        random: breaks ties between nodes.
        is_gone: whether a process is known to have ended.
        on_dead: called with each actor that has died for good.
        ledger: keeps them.
    """

    def __init__(
        self,
        nodes: Nodes,
        groups: Groups,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
        wall: Callable[[], float],
        random: random.Random,
        is_gone: Callable[[Address], bool],
        on_dead: Callable[[ObjectId], None],
        ledger: Ledger,
    ) -> None:
        self._nodes = nodes
        self._ledger = ledger
        self._send = send
        self._wall = wall
        self._is_gone = is_gone
        self._on_dead = on_dead
        self.table = ActorTable(ledger)
        self.waiting = Waiting(now)
        self._watchers = Watchers(ledger, "actor_watchers")
        # Killed before their owners, still alive, have registered them; oldest first.
        self._killed_early: dict[ObjectId, None] = {}
        self._starter = Starter(
            self.table, self.waiting, nodes, groups, send, wall, random, self._give_up, self._tell
        )
        self._restore()

    def _restore(self) -> None:
        """What an earlier life of the head knew."""
        self.table.restore(self._nodes.alive)
        self._killed_early = dict.fromkeys(key for key, _ in self._ledger.rows("killed_early"))
        for actor_id in (*self._watchers.subjects(), *self._killed_early):
            if self.table.get(actor_id) is None:
                self._watchers.expect(actor_id)
        for actor in self.table:
            if actor.node is not None:
                self._starter.restore(actor)
            elif actor.held:
                self.waiting.hold(actor)
            elif actor.state != DEAD:
                self.waiting.add(actor)

    # -- requests of processes -------------------------------------------------------------------
    def on_create(self, source: Address, message: actors.CreateActor) -> None:
        """Create an actor, or answer with the one that already has the name."""
        spec = message.spec
        if not spec.detached and self._is_gone(spec.owner):
            return
        holder = self.table.named(spec.namespace, spec.name) if spec.name else None
        if holder is not None and holder.id != spec.actor:
            self._send(source, self._taken(message, holder))
            return
        self._send(source, actors.ActorCreated(message.token, spec.actor))
        if self.table.get(spec.actor) is not None:
            return
        self._watchers.came(spec.actor)
        actor = ActorRecord(spec, self._wall())
        self.table.add(actor)
        if spec.actor in self._killed_early:
            self._no_longer_early(spec.actor)
            self._die(actor, _KILLED)
            return
        self.waiting.add(actor)
        self._tell(actor)

    def _taken(self, message: actors.CreateActor, holder: ActorRecord) -> actors.ActorCreated:
        if message.get_if_exists:
            return actors.ActorCreated(message.token, holder.id, lightened(holder.spec))
        spec = message.spec
        return actors.ActorCreated(
            message.token,
            spec.actor,
            error=(
                f"The name {spec.name!r} is already taken by an actor in namespace "
                f"{spec.namespace!r}. Please use a different name, or pass get_if_exists=True to "
                "get that actor."
            ),
        )

    def on_watch(self, source: Address, message: actors.WatchActor) -> None:
        """Report an actor's state to a process, now and at each change."""
        actor = self.table.get(message.actor)
        known = self.table.has_been(message.actor)
        if actor is None and (known or self._is_gone(owner_of(message.actor))):
            self._send(source, _unknown(message.actor))
        elif message.actor in self._killed_early:
            self._send(source, actors.ActorIs(message.actor, DEAD, 0, 0, _KILLED))
        elif actor is None:
            self._watchers.expect(message.actor)
            self._watchers.add(message.actor, source)
        else:
            self._send(source, actor.message())
            if actor.state != DEAD:
                self._watchers.add(actor.id, source)

    def _never_came(self, expected: list[ObjectId]) -> None:
        for actor_id in expected:
            self._no_longer_early(actor_id)
            self._tell_all(_unknown(actor_id))

    def _no_longer_early(self, actor_id: ObjectId) -> None:
        if actor_id in self._killed_early:
            del self._killed_early[actor_id]
            self._ledger.drop("killed_early", actor_id)

    def on_kill(self, _: Address, message: actors.KillActor) -> None:
        """Kill an actor's process at once, with or without a restart."""
        actor = self.table.get(message.actor)
        if actor is None and message.no_restart:
            self._kill_early(message.actor)
        if actor is None or actor.state == DEAD:
            return
        if message.no_restart or (actor.restarts == 0 and actor.node is not None):
            self._die(actor, _KILLED)
        elif actor.node is not None:
            actor.asked_to_restart = True
            self.table.touch(actor)
            self._stop(actor, False, "it was killed by kill(no_restart=False)")

    def _kill_early(self, actor_id: ObjectId) -> None:
        """Its registration is still in flight, or its owner is waiting for its arguments."""
        if self.table.has_been(actor_id) or self._is_gone(owner_of(actor_id)):
            return
        self._killed_early[actor_id] = None
        self._ledger.put("killed_early", actor_id, b"")
        if len(self._killed_early) > KILLED_EARLY_MAX:
            self._no_longer_early(next(iter(self._killed_early)))
        self._tell_all(actors.ActorIs(actor_id, DEAD, 0, 0, _KILLED))
        # So that it is forgotten when its owner dies.
        self._watchers.expect(actor_id)

    def on_unreferenced(self, _: Address, message: actors.ActorUnreferenced) -> None:
        """The last handle is gone: nobody can call or find it any more."""
        actor = self.table.get(message.actor)
        if actor is None or actor.state == DEAD or actor.spec.detached:
            return
        reason = "all handles to it have gone out of scope"
        actor.unreferenced = True
        self.table.touch(actor)
        self.table.free_name(actor)
        if actor.node is None:
            self._die(actor, reason)
        else:
            self._stop(actor, True, reason)

    # -- what raylets report ---------------------------------------------------------------------
    def on_started(self, source: Address, message: actors.ActorStarted) -> None:
        """A raylet has run the constructor, or could not."""
        actor = self._expected(source, message.actor, message.incarnation)
        if actor is None:
            return
        if message.status == "ok":
            if actor.state != DEAD:
                actor.pid = message.pid
                actor.title = message.title
                self._alive(actor, message.address)
            return
        self._starter.release(actor)
        if actor.state == DEAD:
            return
        if message.status == "busy" and not actor.unreferenced:
            actor.avoid = node_of(source)
            actor.reason = (
                f"a node had no room for it: {message.reason or 'it will be tried again'}"
            )
            self.waiting.add_later(actor)
            actor.tries += 1
        else:
            reason = message.reason or "its constructor failed"
            self._die(actor, reason, message.error)

    def on_ended(self, source: Address, message: actors.ActorEnded) -> None:
        """An actor's process is gone."""
        actor = self._expected(source, message.actor, message.incarnation)
        if actor is not None:
            final = message.intended and not actor.asked_to_restart
            self._process_ended(actor, message.reason, final)

    def _expected(
        self, source: Address, actor_id: ObjectId, incarnation: int
    ) -> ActorRecord | None:
        """The actor that a raylet reports on, if it was sent to that raylet."""
        actor = self.table.get(actor_id)
        if actor is None or actor.node is None or actor.node.number != node_of(source):
            return None
        return actor if actor.incarnation == incarnation else None

    # -- deaths around them ----------------------------------------------------------------------
    def process_gone(self, address: Address, reason: str) -> None:
        """A driver or worker has ended: its actors end, and it no longer watches any."""
        self._never_came(self._watchers.process_gone(address))
        actor = self.table.at(address)
        if actor is not None:
            self._process_ended(actor, reason, final=False)
        self._end_owned(self.table.owned_by(address), reason)

    def node_gone(self, node: NodeRecord) -> None:
        """A node is dead, with every process on it."""
        reason = f"its node {node.info.ip} ({node.info.hostname}) is gone: {node.ended}"
        self._never_came(self._watchers.node_gone(node.number))
        for actor in self.table.placed_on(node.number):
            actor.preempted = bool(node.leaving)
            counts = self._counts(actor, node)
            self._process_ended(actor, reason, final=False, counts=counts, held=node.number)
        self._end_owned(self.table.owned_on(node.number), f"its owner's node is gone: {node.ended}")
        self.waiting.wake_all()

    def node_ended(self, number: NodeNumber) -> None:
        """Nothing of a dead node can still run: what lived there may live again."""
        for actor in self.waiting.let_go(number):
            actor.held = 0
            self.table.touch(actor)
            self.waiting.add(actor)

    def _counts(self, actor: ActorRecord, node: NodeRecord) -> bool:
        """Whether losing the node costs the actor a restart: not if nothing of it was there."""
        return actor.state == ALIVE and not node.leaving

    def job_over(self, job: int) -> None:
        """A driver has ended; unless its detached actors live on, all actors of its job end."""
        living = self.table.of_job(job)
        if any(actor.spec.detached for actor in living):
            return
        for actor in living:
            self._die(actor, "its job has ended")

    def group_removed(self, group: bytes) -> None:
        """A placement group has been removed."""
        for actor in self.table.in_group(group):
            self._die(actor, "its placement group was removed")

    def _end_owned(self, owned: Iterable[ActorRecord], reason: str) -> None:
        for actor in owned:
            self._die(actor, f"its owner has ended ({reason})")

    # -- time ------------------------------------------------------------------------------------
    def advance(self) -> None:
        """Start whatever can be started."""
        self._starter.advance()

    def deadline(self) -> float | None:
        """When `advance` next has something to do."""
        return self.waiting.deadline()

    # -- transitions -----------------------------------------------------------------------------
    def _alive(self, actor: ActorRecord, address: Address) -> None:
        actor.tries, actor.avoid, actor.reason, actor.preempted = 0, 0, "", False
        actor.has_lived = True
        self.table.settle_at(actor, address)
        self.table.set_state(actor, ALIVE)
        self._tell(actor)

    def _process_ended(
        self,
        actor: ActorRecord,
        reason: str,
        final: bool,
        counts: bool = True,
        held: NodeNumber = 0,
    ) -> None:
        """The process is gone (`held`: as far as that node is heard); restart the actor, or not."""
        self._starter.release(actor)
        if actor.state == DEAD:
            return
        may_restart = actor.restarts != 0 or (actor.state != ALIVE and not counts)
        if final or actor.unreferenced or not may_restart:
            self._die(actor, reason)
            return
        actor.asked_to_restart = False
        actor.reason = reason
        actor.held = held
        self.table.touch(actor)
        if counts:
            actor.restarts -= actor.restarts > 0
        if counts or actor.state != PENDING:
            self.table.set_state(actor, RESTARTING)
            actor.incarnation += 1
            self._tell(actor)
        if held:
            self.waiting.hold(actor)
        else:
            self.waiting.add(actor)

    def _die(
        self, actor: ActorRecord, reason: str, error: bytes = b"", unschedulable: bool = False
    ) -> None:
        if actor.state == DEAD:
            return
        actor.reason, actor.error, actor.unschedulable = reason, error, unschedulable
        self.table.set_state(actor, DEAD)
        self.waiting.remove(actor)
        if actor.node is not None:
            self._stop(actor, False, reason)
        self._tell(actor)
        self._watchers.forget(actor.id)
        self.table.bury(actor, self._wall())
        self._on_dead(actor.id)

    def _give_up(self, actor: ActorRecord, reason: str) -> None:
        self._die(actor, reason, unschedulable=True)

    def _stop(self, actor: ActorRecord, graceful: bool, reason: str) -> None:
        if actor.node is not None:
            message = actors.StopActor(actor.id, actor.incarnation, graceful, reason)
            self._send(actor.node.raylet, message)

    def _tell_all(self, last: actors.ActorIs) -> None:
        """Send watchers the final state."""
        for watcher in self._watchers.of(last.actor):
            self._send(watcher, last)
        self._watchers.forget(last.actor)

    def _tell(self, actor: ActorRecord) -> None:
        watchers = self._watchers.of(actor.id)
        if watchers:
            message = actor.message()
            for watcher in watchers:
                self._send(watcher, message)


def _unknown(actor: ObjectId) -> actors.ActorIs:
    reason = "it is not known: its creator ended before creating it, or it died long ago"
    return actors.ActorIs(actor, DEAD, 0, 0, reason)
