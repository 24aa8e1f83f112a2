"""The actors that exist or recently did: records, names, owners, rows.

Used by `actors`, the only module that changes an actor's state.  Sends nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from rayhpc.head.ledger import Ledger, encode
from rayhpc.head.nodes import NodeRecord
from rayhpc.wire.address import Address, NodeNumber, ObjectId, node_of
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.actors import ActorRow, ActorSpec

DEAD_KEPT = 10_000
IDS_KEPT = 200_000


class SavedActor(msgspec.Struct, array_like=True):
    """What is kept of an actor beside its specification; `node` is a number, 0 for none."""

    state: str
    incarnation: int
    node: NodeNumber
    order: int
    address: Address
    pid: int
    node_id: str
    reason: str
    has_lived: bool
    error: bytes
    unschedulable: bool
    preempted: bool
    restarts: int
    unreferenced: bool
    asked_to_restart: bool
    tries: int
    avoid: NodeNumber
    started: float
    ended: float
    title: str
    held: NodeNumber


class ActorRecord:
    """One actor across all its incarnations.

    `node` is the node it was last sent to and has not ended on yet, `order` the number of that
    order. `restarts` is what remains of max_restarts (-1: unlimited).  `has_lived`: a constructor
    has returned.  `unreferenced`: its last handle is gone.  `asked_to_restart`: a
    `kill(no_restart=False)` is in flight.  `tries` counts the raylets that had no room.
    `hopeless`: no present node can ever hold it.  `held` is a dead node where it may still live (0:
    there is none).
    """

    __slots__ = (
        "address",
        "asked_to_restart",
        "avoid",
        "ended",
        "error",
        "has_lived",
        "held",
        "hopeless",
        "incarnation",
        "node",
        "node_id",
        "order",
        "pid",
        "preempted",
        "reason",
        "restarts",
        "spec",
        "started",
        "state",
        "title",
        "tries",
        "unreferenced",
        "unschedulable",
    )

    def __init__(self, spec: ActorSpec, started: float) -> None:
        self.spec = spec
        self.state = actors.PENDING
        self.incarnation = 0
        self.node: NodeRecord | None = None
        self.order = 0
        self.address: Address = 0
        self.pid = 0
        self.title = ""
        self.node_id = ""
        self.reason = ""
        self.hopeless = False
        self.has_lived = False
        self.error = b""
        self.unschedulable = False
        self.preempted = False
        self.restarts = spec.max_restarts
        self.unreferenced = False
        self.asked_to_restart = False
        self.tries = 0
        self.avoid: NodeNumber = 0
        self.held: NodeNumber = 0
        self.started = started
        self.ended = 0.0

    @property
    def id(self) -> ObjectId:
        """Its id, which is also that of its lifeline."""
        return self.spec.actor

    @property
    def group(self) -> bytes:
        """The placement group it runs in (empty: none)."""
        strategy = self.spec.placing.strategy
        return strategy.group if strategy.kind == "group" else b""

    def saved(self) -> bytes:
        """What is kept of it."""
        values = (getattr(self, name) for name in SavedActor.__struct_fields__ if name != "node")
        state, incarnation, *rest = values
        number = 0 if self.node is None else self.node.number
        return encode(SavedActor(state, incarnation, number, *rest))

    def restore(self, saved: SavedActor) -> None:
        """It is as an earlier life of the head knew it, except for its node."""
        for name in SavedActor.__struct_fields__:
            if name != "node":
                setattr(self, name, getattr(saved, name))

    def message(self) -> actors.ActorIs:
        """What watchers are told; that it waits only if there is no end in sight."""
        alive = self.state == actors.ALIVE
        silent = self.state == actors.PENDING and not self.hopeless
        return actors.ActorIs(
            actor=self.id,
            state=self.state,
            address=self.address if alive else 0,
            incarnation=self.incarnation,
            reason="" if silent else self.reason,
            error=self.error,
            node_id=self.node_id,
            unschedulable=self.unschedulable,
            preempted=self.preempted,
            has_lived=self.has_lived,
            max_task_retries=self.spec.max_task_retries,
        )

    def row(self, with_methods: bool = False) -> ActorRow:
        """The row for listings; with its methods a handle can be made from it."""
        spec = lightened(self.spec)
        if not with_methods:
            spec = msgspec.structs.replace(spec, methods=b"")
        return ActorRow(
            spec=spec,
            state=self.state,
            address=self.address,
            incarnation=self.incarnation,
            reason=self.reason,
            pid=self.pid,
            node_id=self.node_id,
            started=self.started,
            ended=self.ended,
            title=self.title,
        )


def lightened(spec: ActorSpec) -> ActorSpec:
    """A specification without the parts that only a constructor needs."""
    return msgspec.structs.replace(spec, args=b"", deps=[], definition=b"")


class ActorTable:
    """All actors, and the indexes to find them.

    Up to `DEAD_KEPT` dead ones are kept, lightened; of older ones only the fact that they existed.

    Args:
        ledger: keeps them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._all: dict[ObjectId, ActorRecord] = {}
        self._dead: deque[ObjectId] = deque()
        self._forgotten: dict[ObjectId, None] = {}
        self._names: dict[tuple[str, str], ActorRecord] = {}
        self._owned: dict[NodeNumber, dict[Address, dict[ObjectId, ActorRecord]]] = {}
        self._in_group: dict[bytes, dict[ObjectId, ActorRecord]] = {}
        self._on_node: dict[NodeNumber, dict[ObjectId, ActorRecord]] = {}
        self._by_address: dict[Address, ActorRecord] = {}
        self.counts: dict[str, int] = {}

    # -- lookup ----------------------------------------------------------------------------------
    def get(self, actor: ObjectId) -> ActorRecord | None:
        """The actor with that id, alive or recently dead."""
        return self._all.get(actor)

    def has_been(self, actor: ObjectId) -> bool:
        """Whether an actor with that id existed but died so long ago that nothing else is known."""
        return actor in self._forgotten

    def named(self, namespace: str, name: str) -> ActorRecord | None:
        """The living actor with that name."""
        return self._names.get((namespace, name))

    def names(self, namespace: str) -> list[tuple[str, str]]:
        """(namespace, name) of living actors; an empty namespace means all."""
        return [key for key in self._names if namespace in ("", key[0])]

    def at(self, address: Address) -> ActorRecord | None:
        """The actor running in a process."""
        return self._by_address.get(address)

    def owned_by(self, owner: Address) -> list[ActorRecord]:
        """The actors that end with this process, their owner."""
        return list(self._owned.get(node_of(owner), {}).get(owner, {}).values())

    def owned_on(self, number: NodeNumber) -> list[ActorRecord]:
        """The actors that end with a node because their owners are on it."""
        owners = self._owned.get(number, {})
        return [actor for owned in owners.values() for actor in owned.values()]

    def placed_on(self, number: NodeNumber) -> list[ActorRecord]:
        """The actors running, starting or ending on a node."""
        return list(self._on_node.get(number, {}).values())

    def in_group(self, group: bytes) -> list[ActorRecord]:
        """The actors that run in a placement group, or wait to."""
        return list(self._in_group.get(group, {}).values())

    def of_job(self, job: int) -> list[ActorRecord]:
        """The living actors of a job."""
        return [a for a in self._all.values() if a.spec.job == job and a.state != actors.DEAD]

    def __iter__(self) -> Iterator[ActorRecord]:
        return iter(list(self._all.values()))

    # -- changes ---------------------------------------------------------------------------------
    def add(self, actor: ActorRecord) -> None:
        """Add a new actor."""
        spec = actor.spec
        self._ledger.put("specs", actor.id, encode(spec))
        self.touch(actor)
        self._all[actor.id] = actor
        self._count(actor.state, 1)
        self._index(actor)

    def _index(self, actor: ActorRecord) -> None:
        """Have a living actor found by everything that it is found by."""
        spec = actor.spec
        if spec.name and not actor.unreferenced:
            self._names[spec.namespace, spec.name] = actor
        if not spec.detached:
            owners = self._owned.setdefault(node_of(spec.owner), {})
            owners.setdefault(spec.owner, {})[actor.id] = actor
        if actor.group:
            self._in_group.setdefault(actor.group, {})[actor.id] = actor

    def touch(self, actor: ActorRecord) -> None:
        """An actor has changed in what is kept of it."""
        self._ledger.touch("actors", actor.id, actor.saved)

    def put_on(self, actor: ActorRecord, node: NodeRecord, order: int) -> None:
        """The actor has been sent to a node."""
        actor.node, actor.order, actor.node_id = node, order, node.info.node_id
        self._on_node.setdefault(node.number, {})[actor.id] = actor
        node.actors += 1
        self.touch(actor)

    def take_off(self, actor: ActorRecord) -> None:
        """The actor is no longer on its node."""
        if actor.node is not None:
            actor.node.actors -= 1
            self._on_node[actor.node.number].pop(actor.id, None)
            if not self._on_node[actor.node.number]:
                del self._on_node[actor.node.number]
        self._by_address.pop(actor.address, None)
        actor.node, actor.address = None, 0
        self.touch(actor)

    def settle_at(self, actor: ActorRecord, address: Address) -> None:
        """The actor runs in this process."""
        actor.address = address
        self._by_address[address] = actor
        self.touch(actor)

    def set_state(self, actor: ActorRecord, state: str) -> None:
        """Change the state, and the counts per state."""
        self._count(actor.state, -1)
        self._count(state, 1)
        actor.state = state
        self.touch(actor)

    def free_name(self, actor: ActorRecord) -> None:
        """Release its name for other actors."""
        key = (actor.spec.namespace, actor.spec.name)
        if self._names.get(key) is actor:
            del self._names[key]

    def bury(self, actor: ActorRecord, ended: float) -> None:
        """The actor is dead: only listings and late queries still find it."""
        spec = actor.spec
        self.free_name(actor)
        owners = self._owned.get(node_of(spec.owner), {})
        owners.get(spec.owner, {}).pop(actor.id, None)
        if spec.owner in owners and not owners[spec.owner]:
            del owners[spec.owner]
        in_group = self._in_group.get(actor.group, {})
        in_group.pop(actor.id, None)
        if not in_group:
            self._in_group.pop(actor.group, None)
        self._by_address.pop(actor.address, None)
        actor.ended = ended
        actor.spec = msgspec.structs.replace(lightened(spec), methods=b"")
        self._ledger.put("specs", actor.id, encode(actor.spec))
        self.touch(actor)
        self._dead.append(actor.id)
        if len(self._dead) > DEAD_KEPT:
            self._forget(self._all.pop(self._dead.popleft()))

    def _forget(self, actor: ActorRecord) -> None:
        self._count(actor.state, -1)
        self._ledger.drop("specs", actor.id)
        self._ledger.drop("actors", actor.id)
        self._forgotten[actor.id] = None
        self._ledger.put("forgotten_actors", actor.id, b"")
        if len(self._forgotten) > IDS_KEPT:
            oldest = next(iter(self._forgotten))
            del self._forgotten[oldest]
            self._ledger.drop("forgotten_actors", oldest)

    # -- an earlier life of the head -------------------------------------------------------------
    def restore(self, nodes: dict[NodeNumber, NodeRecord]) -> None:
        """Take over the actors that an earlier life of the head knew."""
        saved = dict(self._ledger.rows("actors"))
        for actor_id, spec in self._ledger.rows("specs"):
            self._restore(_decode_spec(spec), _decode_saved(saved[actor_id]), nodes)
        dead = sorted((a.ended, a.id) for a in self._all.values() if a.state == actors.DEAD)
        self._dead.extend(actor_id for _, actor_id in dead)
        self._forgotten = dict.fromkeys(key for key, _ in self._ledger.rows("forgotten_actors"))

    def _restore(
        self, spec: ActorSpec, saved: SavedActor, nodes: dict[NodeNumber, NodeRecord]
    ) -> None:
        actor = ActorRecord(spec, saved.started)
        actor.restore(saved)
        self._all[actor.id] = actor
        self._count(actor.state, 1)
        if actor.state != actors.DEAD:
            self._index(actor)
        node = nodes.get(saved.node)
        if node is not None:
            self.put_on(actor, node, saved.order)
            if actor.state == actors.ALIVE:
                self._by_address[actor.address] = actor

    def _count(self, state: str, by: int) -> None:
        self.counts[state] = self.counts.get(state, 0) + by


_decode_spec = msgspec.msgpack.Decoder(ActorSpec).decode
_decode_saved = msgspec.msgpack.Decoder(SavedActor).decode
