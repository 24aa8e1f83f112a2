"""A simulated node: the real raylet and object manager; its workers, slots and forks are simulated.

Made by `cluster`.  `SimNode` is also the raylet's `NodeIO`.
"""

from __future__ import annotations

import random
import signal
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from rayhpc.raylet.config import NodeConfig
from rayhpc.raylet.head_line import HeadLine
from rayhpc.raylet.joining import rejoining
from rayhpc.raylet.memory_monitor import Pressure
from rayhpc.raylet.node import Raylet
from rayhpc.raylet.objects import ObjectManager
from rayhpc.store.arena import Arena
from rayhpc.wire import codec, messages
from rayhpc.wire.address import HEAD, Address, describe, make_address, process_of, raylet_of
from rayhpc.wire.keys import ClusterKey, KeyPair
from rayhpc.wire.messages import cluster
from rayhpc.wire.messages.common import UNIT, NodeInfo
from rayhpc.wire.messages.start import Facts, WorkerConfig

from .line import SimLink
from .plane import SimPlane
from .process import SimProcess
from .worker import SimSlot, SimWorker
from .world import _BEATS

if TYPE_CHECKING:
    from .cluster import Cluster

_decode = codec.Decoder(messages.RAYLET_TAKES)
ARENA_BYTES = 4 * 2**20
SLOTS = 64
KILLED = signal.SIGKILL  # a status as waitpid gives it


class AtOnce:
    """Background work, done in the foreground."""

    wake_fd = -1
    busy = 0

    def __init__(self, wake: Any) -> None:
        self._wake = wake
        self._told: deque[Any] = deque()

    def submit(self, work: Any, done: Any) -> None:
        """Do the work, then what follows it."""
        done(work())

    def tell(self, action: Any) -> None:
        """The loop turns soon, and does it then."""
        self._told.append(action)
        self._wake()

    def run_done(self) -> None:
        """Do what was told."""
        while self._told:
            self._told.popleft()()

    def close(self) -> None:
        """Nothing to end."""


class NoMonitor:
    """There is memory enough."""

    ours = Pressure(0, 0, "")

    def deadline(self) -> float:
        """Never."""
        return float("inf")

    def look(self, workers: Any) -> None:
        """No worker need end."""


class SimNode:
    """One node: its raylet, its store, its workers; it is also the raylet's `NodeIO`."""

    def __init__(
        self,
        sim: Cluster,
        index: int,
        cpus: int,
        more: dict[str, int] | None = None,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.sim = sim
        self.world = sim.world
        self.alive = True
        self.count = SLOTS
        self.slots = self
        self.memory = [SimSlot() for _ in range(SLOTS)]
        self.workers: dict[int, SimWorker] = {}
        self.drivers: dict[Address, SimProcess] = {}
        self._doomed: set[int] = set()
        # What has come while the raylet's process is stopped.
        self._stopped = False
        self._unread: deque[tuple[Address, Any]] = deque()
        self._timer = float("inf")
        self.arena = Arena.create(ARENA_BYTES)
        total = {"CPU": cpus * UNIT, "object_store_memory": ARENA_BYTES * UNIT}
        total |= {name: amount * UNIT for name, amount in (more or {}).items()}
        labels = labels or {}
        info = NodeInfo(
            0, f"{index:056x}", "", "sim", [], b"", total, labels, ARENA_BYTES, index == 0, 0, ""
        )
        link = self.link = SimLink(sim, 0, self._turn)
        registered = sim.server.admit(link, cluster.RegisterNode("sim", 1, "3", "0", info))
        self.number = registered.number
        self.me = raylet_of(self.number)
        self.line = HeadLine(link, self.me, self.world.now, self._rejoining, self._head_lost)
        self.objects = ObjectManager(
            self.number,
            self.arena,
            [],
            self.send,
            self.world.now,
            random.Random(self.world.random.random()),
            executor=AtOnce(self.wake),  # type: ignore[arg-type]
            plane=SimPlane(sim.planes, self.number, self.arena),
        )
        config = NodeConfig(
            session_dir="",
            cluster=ClusterKey("sim", KeyPair(b"", b""), b"", []),
            node_ip="",
            bind=[],
            hostname="sim",
            total=total,
            store_bytes=ARENA_BYTES,
            python="3",
            version="0",
            node_id=info.node_id,
        )
        facts = Facts(0, "sim", "", info.node_id, "", 0, "")
        base = WorkerConfig(facts, self.arena.fd, ARENA_BYTES, 0, 0, "")
        self.raylet = Raylet(
            config,
            registered,
            base,
            self,  # type: ignore[arg-type]
            self.objects,
            NoMonitor(),  # type: ignore[arg-type]
            self.send,
            self.world.now,
            self.world.now,
        )
        self.world.join(self.me, messages.RAYLET_TAKES, self.receive)
        self.settle()

    # -- the raylet's loop ------------------------------------------------------------------------
    def send(self, destination: Address, message: msgspec.Struct) -> None:
        """Send, while alive."""
        if self.alive and destination == HEAD:
            self.line.send_frame(codec.encode(HEAD, self.me, message))
        elif self.alive:
            self.world.send(self.me, destination, message)

    def to_head(self, frame: bytes) -> None:
        """Pass on what a process says to the head."""
        if self.alive:
            self.line.send_frame(frame)

    def _rejoining(self, received: int) -> cluster.RejoinNode:
        usage = self.raylet.heartbeats.usage(self.raylet)
        return rejoining(self.raylet.config, self.number, usage, received, self.world.now())

    def _head_lost(self, why: str) -> None:
        self.raylet.head.lost(why)

    def _turn(self) -> None:
        """Something has come from the head, or its connection has broken."""
        if not self.alive or self._stopped:
            return
        for frame in self.line.receive():
            destination = codec.destination_of(frame)
            if process_of(destination):
                self.world._hop(self.me, destination, frame)
                continue
            message = _decode(frame)
            # The welcome was handed over at once (`SimHead.admit`).
            if not isinstance(message, cluster.Registered):
                assert destination == self.me, "a real raylet passes it to nobody"
                if type(message) not in _BEATS:
                    self.world.note(f"head → {describe(self.me)} {message}")
                self.raylet.handle(HEAD, message)
        self.settle()

    def receive(self, source: Address, message: Any) -> None:
        """One turn of the loop."""
        if self._stopped:
            self._unread.append((source, message))
            return
        self.raylet.handle(source, message)
        self.settle()

    def stop(self, seconds: float) -> None:
        """The raylet's process is stopped for a while (SIGSTOP); its workers go on."""
        self.world.note(f"-- the raylet of node {self.number} stops for {seconds:.1f} s")
        self._stopped = True
        self.world.after(seconds, self._go_on)

    def _go_on(self) -> None:
        """As the real loop: a turn reads all that has come, then looks at the time."""
        self._stopped = False
        while self._unread and self.alive:
            self.raylet.handle(*self._unread.popleft())
        self._turn()
        self._on_timer()

    def settle(self) -> None:
        """End a turn, and be called again when something is due."""
        if not self.alive or self._stopped:
            return
        self.raylet.settle()
        if self.raylet.ended is not None:
            self.sim.kill_node(self, f"its raylet ended: {self.raylet.ended[1]}")
            return
        deadline = min(self.raylet.deadline(), self.line.deadline())
        if deadline < self._timer - 1e-9:
            self._timer = deadline
            self.world.at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = float("inf")
        if self.alive and not self._stopped:
            self.line.on_time()
            self.raylet.on_time()
            self.settle()

    # -- NodeIO -----------------------------------------------------------------------------------
    def spawn(self, number: int, args: bytes, prepared: Any, template: Any) -> None:
        """Start a worker, which takes a few milliseconds."""
        config = msgspec.msgpack.decode(args, type=WorkerConfig)

        def begin() -> None:
            if not self.alive:
                return
            slot = self.memory[config.slot] = SimSlot()
            self.workers[number] = SimWorker(
                self.world,
                make_address(self.number, number),
                self.arena.fd,
                ARENA_BYTES,
                0,
                slot=slot,
                ended=lambda w: self.worker_died(w, w.worker.exit_code << 8),
            )
            self.raylet.workers.on_spawned(number, number)
            if number in self._doomed:
                self.worker_died(self.workers[number], KILLED)

        self.world.after(self.world.random.uniform(0.001, 0.008), begin)

    def kill(self, number: int) -> None:
        """Kill a worker, now or as soon as it is there."""
        worker = self.workers.get(number)
        if worker is None:
            self._doomed.add(number)
        else:
            self.world.after(0.0, lambda: self.worker_died(worker, KILLED))

    def worker_died(self, worker: SimWorker, status: int) -> None:
        """A worker has ended; the fork server tells the raylet a little later."""
        number = process_of(worker.core.me)
        if self.workers.pop(number, None) is None:
            return
        worker.end()

        def told() -> None:
            if self._stopped:
                self.world.after(0.1, told)
            elif self.alive:
                self.raylet.worker_ended(number, status)
                self.settle()

        self.world.after(self.world.random.uniform(0.0001, 0.003), told)

    def read(self, index: int) -> tuple[bytes, list[bytes]]:
        """What had been started in a slot, and what may not have been sent."""
        slot = self.memory[index]
        return slot.started, list(slot.unsent)

    def clear(self, index: int) -> None:
        """Make a slot ready for its next worker."""
        slot = self.memory[index]
        slot.started, slot.unsent = b"", []

    def make_template(self, wanted: Any) -> Any:
        """The simulated jobs import nothing, so nobody asks for one."""
        raise AssertionError("no job here has modules to import")

    def read_output(self, number: int) -> None:
        """Simulated workers print nothing."""

    def drain_output(self, number: int) -> None:
        """Simulated workers print nothing."""

    def forget_process(self, address: Address) -> None:
        """The world knows already."""

    def forget_node(self, node: int, reason: str) -> None:
        """The world knows already."""

    def learn_node(self, info: NodeInfo) -> None:
        """The world knows the way."""

    def redial(self, node: int) -> None:
        """Links are made again by `Cluster.interrupt`, or never."""

    def errors(self) -> tuple[int, str]:
        """Errors are raised here, not counted."""
        return 0, ""

    def heard_of_head(self) -> int:
        """As the real one."""
        return self.line.received

    def wake(self) -> None:
        """Have the loop turn once."""
        self.world.after(0.0, self._on_timer)
