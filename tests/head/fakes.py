"""A head among simulated raylets: clock, network and raylets are fakes, the head is the real one.

Messages between the head and one raylet keep their order, as on the real connection, and each
takes a random time.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.head.config import HeadFacts
from rayhpc.head.head import Head
from rayhpc.wire.address import Address, make_address, make_object_id, node_of, process_of
from rayhpc.wire.feasibility import add, fits, subtract
from rayhpc.wire.messages import HEAD_TAKES, actors, cluster, leases
from rayhpc.wire.messages.common import (
    UNIT,
    JobConfig,
    NodeInfo,
    Resources,
    SchedulingClass,
    Strategy,
)

FACTS = HeadFacts("c" * 32, "0.1.0", "3.11")
_head_takes = set(HEAD_TAKES)


def amounts(**resources: float) -> Resources:
    """CPU=2, GPU=0.5 … in the units of the wire."""
    return {name: round(value * UNIT) for name, value in resources.items()}


def node_info(name: str, total: Resources, **labels: str) -> NodeInfo:
    """A node that has not registered yet."""
    return NodeInfo(
        number=0,
        node_id=name,
        ip="127.0.0.1",
        hostname=name,
        endpoints=[("127.0.0.1", 1)],
        key=b"k" * 40,
        total=total,
        labels=labels,
        store_bytes=0,
        is_head=False,
        pid=1,
        session_dir="/s",
    )


def actor_spec(actor: bytes, owner: Address, **options: Any) -> actors.ActorSpec:
    """An actor; `cpus` is what it holds, `placing` what it is placed with (the same by default)."""
    holding = amounts(CPU=options.pop("cpus", 1.0))
    placing = options.pop("placing", holding)
    strategy = options.pop("strategy", Strategy())
    return actors.ActorSpec(
        actor=actor,
        owner=owner,
        job=options.pop("job", 1),
        class_name="A",
        definition_id=b"d",
        definition=b"pickled class",
        methods=b"methods",
        args=b"args",
        deps=[],
        placing=SchedulingClass(placing, strategy),
        holding={k: v for k, v in holding.items() if v},
        **options,
    )


class FakeRaylet:
    """One node: its resources, bundles and actors, and nothing else."""

    def __init__(self, world: World, info: NodeInfo) -> None:
        self.world = world
        self.info = info
        self.number = 0
        self.total = dict(info.total)
        self.free = dict(info.total)
        self.taken = 0
        self.version = 0
        self.processes = itertools.count(100)
        self.living: dict[bytes, int] = {}
        self.addresses: dict[bytes, Address] = {}
        self.held: dict[bytes, tuple[Resources, Resources]] = {}
        self.bundles: dict[bytes, dict[int, Resources]] = {}
        self.bundle_free: dict[bytes, dict[int, Resources]] = {}
        self.overbooked = 0
        self.alive = True
        self.silent = False
        self.seen: list[msgspec.Struct] = []
        self.known: set[int] = set()
        self.ended: leases.Shutdown | None = None
        self.fail_with = b""
        # What leases have and it says that it can call back.
        self.leased: Resources = {}

    # -- out -------------------------------------------------------------------------------------
    def say(self, message: msgspec.Struct, process: int = 0) -> None:
        if self.alive and not self.silent:
            self.world.to_head(make_address(self.number, process), message)

    def report(self) -> None:
        self.version += 1
        usage = cluster.Usage(
            self.number,
            dict(self.free),
            version=self.version,
            taken=self.taken,
            leased=dict(self.leased),
        )
        self.say(cluster.Heartbeat(usage, sent=self.world.time))

    # -- in --------------------------------------------------------------------------------------
    def receive(self, message: msgspec.Struct) -> None:
        self.seen.append(message)
        handler = getattr(self, "on_" + type(message).__name__, None)
        if handler is not None:
            handler(message)

    def on_Registered(self, message: cluster.Registered) -> None:  # noqa: N802
        self.number = message.number
        self.known.update(info.number for info in message.nodes)

    def on_NodeUp(self, message: cluster.NodeUp) -> None:  # noqa: N802
        self.known.update(info.number for info in (message.info, *message.more))

    def on_NodeGone(self, message: leases.NodeGone) -> None:  # noqa: N802
        self.known.difference_update([message.node, *message.more])

    def on_Shutdown(self, message: leases.Shutdown) -> None:  # noqa: N802
        self.ended = message

    def on_StartActor(self, message: actors.StartActor) -> None:  # noqa: N802
        self.taken += 1
        spec = message.spec
        pool = self._pool(spec)
        if pool is None or not fits(pool, spec.holding):
            self.overbooked += not spec.placing.strategy.group
            self.say(actors.ActorStarted(spec.actor, message.incarnation, "busy"))
            self.report()
            return
        subtract(pool, spec.holding)
        self.living[spec.actor] = message.incarnation
        self.held[spec.actor] = (pool, spec.holding)
        self.report()
        self.world.later(self.world.random.uniform(0, 0.2), lambda: self._construct(message))

    def _pool(self, spec: actors.ActorSpec) -> Resources | None:
        strategy = spec.placing.strategy
        if not strategy.group:
            return self.free
        mine = self.bundle_free.get(strategy.group, {})
        wanted = [strategy.bundle] if strategy.bundle >= 0 else sorted(mine)
        return next((mine[i] for i in wanted if i in mine and fits(mine[i], spec.holding)), None)

    def _construct(self, message: actors.StartActor) -> None:
        actor = message.spec.actor
        if self.living.get(actor) != message.incarnation or actor in self.addresses:
            return
        if self.fail_with:
            self._release(actor)
            error = self.fail_with
            self.say(actors.ActorStarted(actor, message.incarnation, "failed", error=error))
            return
        self.addresses[actor] = make_address(self.number, next(self.processes))
        self.say(
            actors.ActorStarted(actor, message.incarnation, "ok", address=self.addresses[actor])
        )

    def on_StopActor(self, message: actors.StopActor) -> None:  # noqa: N802
        if self.living.get(message.actor) == message.incarnation:
            delay = self.world.random.uniform(0, 0.2) if message.graceful else 0.0
            self.world.later(delay, lambda: self.end_actor(message.actor, message.reason, True))

    def end_actor(self, actor: bytes, reason: str, intended: bool = False) -> None:
        """The actor's process ends."""
        incarnation = self.living.get(actor)
        if incarnation is None:
            return
        address = self.addresses.get(actor, 0)
        self._release(actor)
        self.say(actors.ActorEnded(actor, incarnation, reason, intended))
        if address:
            self.say(cluster.ProcessDied(address, reason, False))

    def _release(self, actor: bytes) -> None:
        pool, holding = self.held.pop(actor)
        add(pool, holding)
        del self.living[actor]
        self.addresses.pop(actor, None)
        self.report()

    def on_PrepareBundles(self, message: actors.PrepareBundles) -> None:  # noqa: N802
        self.taken += 1
        wanted: Resources = {}
        for resources in message.bundles.values():
            add(wanted, resources)
        ok = fits(self.free, wanted)
        self.overbooked += not ok
        if ok:
            subtract(self.free, wanted)
            for index, resources in message.bundles.items():
                self.bundles.setdefault(message.group, {})[index] = resources
                self.bundle_free.setdefault(message.group, {})[index] = dict(resources)
        self.say(actors.BundlesPrepared(message.group, message.attempt, ok))
        self.report()

    def on_ReleaseBundles(self, message: actors.ReleaseBundles) -> None:  # noqa: N802
        self.taken += 1
        mine = self.bundles.get(message.group, {})
        for index in [x for x in message.bundles or list(mine) if x in mine]:
            resources = mine.pop(index)
            pool = self.bundle_free[message.group].pop(index)
            for actor in [a for a, (held, _) in self.held.items() if held is pool]:
                self.end_actor(actor, "its placement group was removed", True)
            add(self.free, resources)
        self.report()

    def take(self, resources: Resources) -> bool:
        """A lease, say: something the head does not decide."""
        if not fits(self.free, resources):
            return False
        subtract(self.free, resources)
        self.report()
        return True

    def give(self, resources: Resources) -> None:
        add(self.free, resources)
        self.report()


class World:
    """The clock, the network, the head and its raylets."""

    def __init__(self, seed: int = 0, latency: float = 0.01) -> None:
        self.random = random.Random(seed)
        self.time = 1000.0
        self.latency = latency
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._last: dict[object, float] = {}
        self._sequences = itertools.count(1)
        self.raylets: dict[int, FakeRaylet] = {}
        self.inbox: dict[Address, list[Any]] = {}
        self.sent = 0
        self.head = Head(
            FACTS, self._send, lambda: self.time, lambda: self.time, random.Random(seed)
        )

    # -- time ------------------------------------------------------------------------------------
    def later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.time + delay, next(self._order), action))

    def run(self, seconds: float = 1.0) -> None:
        """Let time pass, with everything that happens in it."""
        end = self.time + seconds
        while True:
            event = self._events[0][0] if self._events else end
            when = min(event, self.head.deadline(), end)
            self.time = max(self.time, when)
            if self.time >= end and not (self._events and self._events[0][0] <= end):
                self.head.advance()
                return
            while self._events and self._events[0][0] <= self.time:
                heapq.heappop(self._events)[2]()
            self.head.advance()

    def beat(self) -> None:
        """Every raylet says that it lives, twice a second."""

        def one() -> None:
            for raylet in self.raylets.values():
                raylet.say(cluster.Heartbeat(sent=self.time))
            self.later(0.5, one)

        one()

    # -- network ---------------------------------------------------------------------------------
    def _deliver(self, link: object, action: Callable[[], None]) -> None:
        """In order within one link."""
        when = max(self._last.get(link, 0.0), self.time + self.random.uniform(0, self.latency))
        self._last[link] = when
        heapq.heappush(self._events, (when, next(self._order), action))

    def to_head(self, source: Address, message: msgspec.Struct) -> None:
        assert type(message) in _head_takes, message
        message = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=type(message))
        self._deliver(("up", node_of(source)), lambda: self.head.handle(source, message))

    def _send(self, address: Address, message: msgspec.Struct) -> None:
        self.sent += 1
        raylet = self.raylets.get(node_of(address))
        assert raylet is not None, f"sent to nobody: {address:x} {message}"
        copy = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=type(message))

        def arrive() -> None:
            if not raylet.alive:
                return
            if process_of(address):
                self.inbox.setdefault(address, []).append(copy)
            else:
                raylet.receive(copy)

        self._deliver(("down", raylet.number), arrive)

    # -- what tests do ---------------------------------------------------------------------------
    def add_node(self, total: Resources | None = None, **labels: str) -> FakeRaylet:
        name = f"node-{len(self.raylets) + 1}"
        raylet = FakeRaylet(self, node_info(name, total or amounts(CPU=4), **labels))
        answer = self.head.join(
            cluster.RegisterNode(
                FACTS.cluster_id, cluster.PROTOCOL, FACTS.python, FACTS.version, raylet.info
            )
        )
        assert isinstance(answer, cluster.Registered), answer
        raylet.receive(answer)
        self.raylets[raylet.number] = raylet
        return raylet

    def kill_node(self, raylet: FakeRaylet) -> None:
        """The node is gone, and its connection with it."""
        raylet.alive = False
        raylet.living.clear()
        self._deliver(
            ("up", raylet.number),
            lambda: (self.head.lost(raylet.number), self.head.raylet_ended(raylet.number)),
        )

    def process(self, raylet: FakeRaylet) -> Address:
        return make_address(raylet.number, next(raylet.processes))

    def new_id(self, owner: Address) -> bytes:
        return make_object_id(owner, next(self._sequences))

    def start_job(self, raylet: FakeRaylet, number: int = 1) -> Address:
        """A driver attaches; its address."""
        driver = self.process(raylet)
        raylet.say(cluster.JobStarted(JobConfig(number, driver, "ns", [], "/", [])))
        return driver

    def create(self, owner: Address, **options: Any) -> bytes:
        """Create an actor and watch it; its id."""
        actor = self.new_id(owner)
        get_if_exists = options.pop("get_if_exists", False)
        spec = actor_spec(actor, owner, **options)
        self.to_head(owner, actors.CreateActor(7, spec, get_if_exists))
        self.to_head(owner, actors.WatchActor(actor))
        return actor

    def group(
        self, owner: Address, bundles: list[Resources], strategy: str = "PACK", **more: Any
    ) -> bytes:
        """Create a placement group and watch it; its id."""
        group = self.new_id(owner)
        message = actors.CreateGroup(group, bundles, strategy, creator=owner, job=1, **more)
        self.to_head(owner, message)
        self.to_head(owner, actors.WatchGroup(group))
        return group

    def state(self, actor: bytes) -> str:
        found = self.head.actors.table.get(actor)
        return "" if found is None else found.state

    def told(self, address: Address, kind: type) -> list[Any]:
        """What a process was told, of one kind."""
        return [m for m in self.inbox.get(address, []) if isinstance(m, kind)]

    def last(self, address: Address, kind: type, subject: bytes = b"") -> Any:
        """The last such message, about `subject` if given."""
        names = ("actor", "group")
        found = [
            m
            for m in self.told(address, kind)
            if not subject or subject in [getattr(m, name, None) for name in names]
        ]
        return found[-1] if found else None

    def ask(self, raylet: FakeRaylet, question: Any, kind: Any) -> Any:
        """Ask the head and wait for its answer."""
        asker = self.process(raylet)
        self.to_head(asker, cluster.Request(1, question))
        self.run(0.1)
        reply = self.told(asker, cluster.Reply)[0]
        assert not reply.error, reply.error
        return msgspec.msgpack.decode(reply.data, type=kind)


def cluster_of(count: int, cpus: float = 4, seed: int = 0) -> tuple[World, list[FakeRaylet], int]:
    """A world with nodes that beat, and a driver on the first."""
    world = World(seed)
    nodes = [world.add_node(amounts(CPU=cpus)) for _ in range(count)]
    world.beat()
    driver = world.start_job(nodes[0])
    world.run(0.5)
    return world, nodes, driver
