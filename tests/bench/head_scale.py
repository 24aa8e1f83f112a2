"""What the head costs on a large cluster: its state machine among simulated raylets.

    python -m tests.bench.head_scale [--nodes 1000] [--json]

Time is simulated; what is measured is the head's own CPU time, decoding and encoding included.
Sockets are not in it: `frames` and `MB` are what it would have given to them, and `sockets` is an
estimate of their cost at 10 µs a frame (CURVE, measured on one connection).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.head import history
from rayhpc.head.config import HeadFacts
from rayhpc.head.head import Head
from rayhpc.wire import codec
from rayhpc.wire.address import HEAD, Address, make_address, make_object_id, node_of, raylet_of
from rayhpc.wire.feasibility import add, subtract
from rayhpc.wire.messages import HEAD_TAKES, actors, cluster
from rayhpc.wire.messages.common import UNIT, NodeInfo, Resources, SchedulingClass, Strategy

FACTS = HeadFacts("c" * 32, "0.1.0", "3.11")
STEP_S = 0.02
FRAME_S = 10e-6
# What a dashboard does: a look, and the report's views of 50,000 runs on a hundred nodes.
LOOK_S, VIEWS_S = 2, 8
PAUSE_AN_ACTOR_S = 4e-3
ONE: Resources = {"CPU": UNIT}
CPUS = 64


class Row(msgspec.Struct):
    """One line of the table; `cpu` in seconds, `simulated` in seconds of simulated time."""

    what: str
    cpu: float
    simulated: float
    frames: int
    megabytes: float

    def share(self) -> str:
        """CPU and estimated socket time in percent of a core."""
        if self.simulated < 1:
            return ""
        return f"{100 * (self.cpu + self.frames * FRAME_S) / self.simulated:.1f} %"


class Bench:
    """The head, its simulated raylets, and a clock that only we move."""

    def __init__(self, nodes: int) -> None:
        self.count = nodes
        self.now = 1000.0
        self.cpu = 0.0
        self.frames = 0
        self.bytes = 0
        self.rows: list[Row] = []
        self._last: msgspec.Struct | None = None
        self._body = b""
        self._turn = 0
        self._decode = codec.Decoder(HEAD_TAKES)
        self._inbox: list[bytes] = []
        self.free: dict[int, Resources] = {}
        self.taken: dict[int, int] = {}
        self.version: dict[int, int] = {}
        self.known: dict[int, int] = {}
        self.told: list[Any] = []
        self.silent: set[int] = set()
        self.head = Head(FACTS, self._send, lambda: self.now, lambda: self.now, random.Random(1))

    # -- the network ------------------------------------------------------------------------------
    def _send(self, address: Address, message: msgspec.Struct) -> None:
        if message is not self._last:
            self._last = message
            self._body = codec.encode(HEAD, HEAD, message)[codec.HEADER_BYTES :]
        self.frames += 1
        self.bytes += len(self._body) + codec.HEADER_BYTES
        self._receive(address, message)

    def _receive(self, address: Address, message: Any) -> None:
        """A raylet, as bare as can be: it always has room for what the head sends it."""
        number = node_of(address)
        if isinstance(message, cluster.NodeUp):
            self.known[number] += 1 + len(message.more)
        elif isinstance(message, actors.PrepareBundles):
            self.taken[number] += 1
            for resources in message.bundles.values():
                subtract(self.free[number], resources)
            self.say(number, actors.BundlesPrepared(message.group, message.attempt, True))
            self.report(number)
        elif isinstance(message, actors.StartActor):
            self.taken[number] += 1
            subtract(self.free[number], message.spec.holding)
            spec, home = message.spec, make_address(number, 1000 + self.taken[number])
            self.say(number, actors.ActorStarted(spec.actor, message.incarnation, "ok", home))
            self.report(number)
        elif isinstance(message, actors.ReleaseBundles):
            self.free[number] = {"CPU": CPUS * UNIT}
            self.report(number)
        elif isinstance(message, (actors.GroupIs, actors.ActorIs)):
            self.told.append(message)

    def say(self, number: int, message: msgspec.Struct, process: int = 0) -> None:
        """A node's message to the head; it arrives in the next step."""
        self._inbox.append(codec.encode(HEAD, make_address(number, process), message))

    def report(self, number: int) -> None:
        """A heartbeat with news."""
        self.version[number] += 1
        free = dict(self.free[number])
        usage = cluster.Usage(number, free, 0, self.version[number], False, self.taken[number])
        self.say(number, cluster.Heartbeat(usage))

    # -- time -------------------------------------------------------------------------------------
    def step(self) -> None:
        """One step of simulated time."""
        self.now += STEP_S
        frames, self._inbox = self._inbox, []
        start = time.process_time()
        for frame in frames:
            self.head.handle(codec.source_of(frame), self._decode(frame))
        self.head.advance()
        self.cpu += time.process_time() - start

    def run(self, seconds: float, each_second: Callable[[int], None] | None = None) -> None:
        """Simulated time, with a heartbeat from every node each second."""
        for _ in range(round(seconds / STEP_S)):
            self._turn = (self._turn + 1) % 50
            for number in range(1 + self._turn, self.count + 1, 50):
                if number in self.known and number not in self.silent:
                    self.say(number, cluster.Heartbeat())
                    if each_second is not None:
                        each_second(number)
            self.step()

    def until(self, done: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Simulated time, until something holds."""
        end = self.now + limit_s
        while not done():
            self.run(STEP_S)
            if self.now > end:
                raise RuntimeError("the head did not get there")

    def measure(self, what: str, action: Callable[[], None]) -> None:
        """Run something and note what it cost."""
        self.cpu, self.frames, self.bytes = 0.0, 0, 0
        start = self.now
        action()
        self.rows.append(Row(what, self.cpu, self.now - start, self.frames, self.bytes / 1e6))

    # -- what is measured -------------------------------------------------------------------------
    def join_all(self) -> None:
        """Every node registers, within half a second; over when all know all."""
        for index in range(self.count):
            message = cluster.RegisterNode(
                FACTS.cluster_id, cluster.PROTOCOL, FACTS.python, FACTS.version, _info(index)
            )
            start = time.process_time()
            answer = self.head.join(message)
            assert isinstance(answer, cluster.Registered)
            body = codec.encode(HEAD, HEAD, answer)
            self.cpu += time.process_time() - start
            number = answer.number
            self.frames += 1
            self.bytes += len(body)
            self.free[number] = {"CPU": CPUS * UNIT}
            self.taken[number] = self.version[number] = 0
            self.known[number] = len(answer.nodes)
            if not number % max(1, self.count // 25):
                self.run(STEP_S)
        self.until(lambda: min(self.known.values()) >= self.count)

    def spread_group(self, strategy: str) -> None:
        """As many bundles as nodes, placed and removed again."""
        group = make_object_id(raylet_of(1) + 5, len(self.rows) + 1)
        self.told.clear()
        self.say(1, actors.CreateGroup(group, [ONE] * self.count, strategy, creator=0), 5)
        self.say(1, actors.WatchGroup(group), 5)
        self.until(lambda: any(m.state == actors.GROUP_CREATED for m in self.told))
        self.say(1, actors.RemoveGroup(group), 5)
        self.run(1)

    def create_actors(self, count: int, cpus: int = 1) -> None:
        """Actors of one driver, all at once."""
        owner = raylet_of(1) + 6
        self.told.clear()
        holding = {"CPU": cpus * UNIT}
        for index in range(count):
            actor = make_object_id(owner, index + 1 + 100_000 * len(self.rows))
            self.say(1, actors.CreateActor(1, _spec(actor, owner, holding)), 6)
            self.say(1, actors.WatchActor(actor), 6)
        if cpus <= CPUS:
            self.until(lambda: sum(m.state == actors.ALIVE for m in self.told) == count)
        else:
            self.run(1)

    def lose(self, count: int) -> None:
        """Nodes fall silent; over when all are declared dead."""
        self.silent.update(range(self.count - count + 1, self.count + 1))
        left = self.count - count
        self.until(lambda: len(self.head.nodes.alive) == left)

    def watched(self, seconds: int) -> None:
        """Somebody has the dashboard open, which asks what `launch.live_look` does."""
        known = sum(1 for _ in self.head.actors.table)
        for second in range(seconds):
            if second % LOOK_S == 0:
                self.ask(cluster.ClusterUsage())
                self.ask(cluster.ListJobs())
            if second % max(LOOK_S, round(known * PAUSE_AN_ACTOR_S)) == 0:
                self.ask(cluster.ListActors())
            if second % VIEWS_S == 0:
                self.ask(cluster.NodesOverTime())
            self.run(1)

    def ask(self, question: cluster.Question) -> None:
        """An observer's question."""
        self.say(1, cluster.Request(1, question), 7)

    def busy(self, number: int) -> None:
        """A node's usage has changed."""
        add(self.free[number], {"CPU": 0})
        self.report(number)


def _info(index: int) -> NodeInfo:
    return NodeInfo(
        number=0,
        node_id=f"{index:056x}",
        ip=f"10.0.{index // 256}.{index % 256}",
        hostname=f"node{index:05d}",
        # Of this machine, and nobody listens there: the head finds that such a raylet has ended.
        endpoints=[(f"127.1.{index // 256}.{index % 256}", 1)],
        key=b"k" * 40,
        total={"CPU": CPUS * UNIT},
        labels={"ray.io/node-id": f"{index:056x}"},
        store_bytes=2**33,
        is_head=not index,
        pid=1,
        session_dir="/tmp/rayhpc-1000/session",
    )


def _spec(actor: bytes, owner: Address, holding: Resources) -> actors.ActorSpec:
    return actors.ActorSpec(
        actor=actor,
        owner=owner,
        job=1,
        class_name="A",
        definition_id=b"d" * 16,
        definition=b"x" * 500,
        methods=b"m" * 100,
        args=b"a" * 100,
        deps=[],
        placing=SchedulingClass(holding, Strategy()),
        holding=holding,
    )


def measure(nodes: int) -> list[Row]:
    """All rows for a cluster of that many nodes."""
    bench = Bench(nodes)
    bench.measure(f"{nodes} nodes join", bench.join_all)
    bench.run(3)
    bench.measure("idle, 10 s", lambda: bench.run(10))
    bench.measure("every node's usage changes each second, 10 s", lambda: bench.run(10, bench.busy))
    bench.run(3)
    for strategy in ("PACK", "SPREAD", "STRICT_SPREAD"):
        what = f"{nodes} bundles, {strategy}, made and removed"
        bench.measure(what, lambda s=strategy: bench.spread_group(s))  # type: ignore[misc]
    bench.measure(f"{nodes} actors at once", lambda: bench.create_actors(nodes))
    bench.measure("1000 actors no node can hold", lambda: bench.create_actors(1000, CPUS + 1))
    bench.measure("all busy again, with these waiting, 10 s", lambda: bench.run(10, bench.busy))
    bench.run(history.SAMPLES_MOST)  # until all that is kept of each node is there
    bench.measure("idle, with long histories and these actors, 24 s", lambda: bench.run(24))
    bench.measure("the same, with the dashboard open", lambda: bench.watched(24))
    lost = nodes // 10
    bench.measure(f"{lost} nodes lost, until noticed", lambda: bench.lose(lost))
    return bench.rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.nodes)
    if options.json:
        print(json.dumps([msgspec.structs.asdict(row) for row in rows]))
        return
    print(f"{'':48} {'CPU s':>8} {'time s':>8} {'of a core':>10} {'frames':>9} {'MB':>8}")
    for row in rows:
        numbers = f"{row.cpu:8.3f} {row.simulated:8.2f} {row.share():>10}"
        print(f"{row.what:48} {numbers} {row.frames:9d} {row.megabytes:8.1f}")


if __name__ == "__main__":
    main()
