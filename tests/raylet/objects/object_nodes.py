"""A cluster of object managers in one process: their network, clock and processes are simulated.

Used by the tests of this folder.  Messages between two parties keep their order; which pair's next
one is delivered is drawn by a seeded generator.  The arenas and spill files are real, so that what
a reader finds can be compared with what the writer wrote.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from rayhpc.raylet.objects import ObjectManager
from rayhpc.store.arena import Arena
from rayhpc.store.mapping import Mapping
from rayhpc.wire.address import (
    Address,
    ObjectId,
    make_address,
    make_object_id,
    node_of,
    owner_node_of,
    owner_of,
    raylet_of,
)
from rayhpc.wire.messages import objects
from tests.sim.plane import PlaneNet, SimPlane

T = TypeVar("T")
ANSWERS = (objects.Fetched, objects.FetchFailed)


class Done(msgspec.Struct):
    """Writer to owner: the object is stored (ok), or could not be."""

    oid: ObjectId
    ok: bool
    attempt: int = 0


class LaterExecutor:
    """Work is done at once, but known only later."""

    def __init__(self) -> None:
        self._finished: deque[tuple[Callable[[Any], None], Any]] = deque()

    @property
    def busy(self) -> int:
        return len(self._finished)

    def submit(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        self._finished.append((done, work()))

    def tell(self, action: Callable[[], None]) -> None:
        self._finished.append((lambda _: action(), None))

    def run_done(self) -> None:
        for _ in range(len(self._finished)):
            done, result = self._finished.popleft()
            done(result)

    def close(self) -> None:
        self._finished.clear()


def content(oid: ObjectId, size: int, attempt: int = 0) -> bytes:
    """What an object of that id and size consists of, as that attempt of its task makes it."""
    unit = bytes([attempt]) + oid
    return (unit * (size // len(unit) + 1))[:size]


class Process:
    """A driver or worker: owns, writes, reads."""

    def __init__(self, cluster: Cluster, address: Address) -> None:
        self.cluster = cluster
        self.address = address
        self.raylet = raylet_of(node_of(address))
        self.sequence = 0
        self.owned: dict[ObjectId, str] = {}
        self.creating: dict[ObjectId, tuple[int, int]] = {}
        # Which attempt makes them now, of those that were made again.
        self.attempts: dict[ObjectId, int] = {}
        self.waiting: set[tuple[ObjectId, bool]] = set()
        self.views: list[objects.Fetched] = []
        self.answers: list[Any] = []
        self.asked: set[ObjectId] = set()
        # Why copies were lost.
        self.reasons: list[str] = []
        self.remake = True

    def send(self, message: msgspec.Struct) -> None:
        self.cluster.send(self.address, self.raylet, message)

    def new(self) -> ObjectId:
        """A new object of ours, pending."""
        self.sequence += 1
        oid = make_object_id(self.address, self.sequence)
        self.owned[oid] = "pending"
        return oid

    def write(self, oid: ObjectId, size: int, attempt: int = 0) -> None:
        """Begin to write an object (of whomever)."""
        self.creating[oid] = size, attempt
        self.cluster.writers[oid] = self.address
        self.send(objects.StoreCreate(oid, size, attempt))

    def try_again(self, oid: ObjectId) -> int:
        """The task of an object of ours runs again: as which attempt."""
        self.owned[oid] = "pending"
        self.attempts[oid] = attempt = self.attempts.get(oid, 0) + 1
        self.send(objects.NewAttempt([oid], attempt))
        return attempt

    def fetch(self, oid: ObjectId, pin: bool = True, least: int = 0) -> None:
        if (oid, pin) not in self.waiting:
            self.waiting.add((oid, pin))
            self.send(objects.Fetch([oid], pin, {oid: least} if least else {}))

    def cancel(self, oid: ObjectId, pin: bool = True) -> None:
        if (oid, pin) in self.waiting:
            self.waiting.discard((oid, pin))
            self.send(objects.FetchCancel([oid], pin))

    def unpin(self, number: int = 0) -> None:
        """A view goes; until then its bytes must have stayed what they were."""
        view = self.views.pop(number)
        self.check(view)
        self.send(objects.Unpin([view.oid]))

    def free(self, oid: ObjectId) -> None:
        # Also after an error: its writer may have sealed it before it died.
        del self.owned[oid]
        self.attempts.pop(oid, None)
        self.send(objects.Free([oid]))

    def check(self, view: objects.Fetched) -> None:
        where = view.offset, view.size
        if view.path:
            found = bytes(self.mapping.export_file(view.path, *where, deque(), view.oid))
        else:
            found = bytes(self.cluster.arenas[node_of(self.address)].view(*where))
        assert found == content(view.oid, view.size, view.attempt), "not what was written"

    @property
    def mapping(self) -> Mapping:
        """This process's own windows onto the store of its node."""
        arena = self.cluster.arenas[node_of(self.address)]
        return Mapping(arena.fd, arena.size)

    def take(self, message: Any) -> None:
        """A message arrives."""
        if isinstance(message, objects.StoreCreated):
            self._created(message)
        elif isinstance(message, objects.Fetched):
            self._fetched(message)
        elif isinstance(message, objects.FetchFailed):
            self.answers.append(message)
            self.waiting.discard((message.oid, True))
            self.waiting.discard((message.oid, False))
        elif isinstance(message, Done):
            if message.ok:
                self.cluster.writers.pop(message.oid, None)
            if message.attempt < self.attempts.get(message.oid, 0):
                pass  # of a worker that is dead
            elif self.owned.get(message.oid) == "pending":
                self._done(message)
            elif message.ok and message.oid not in self.owned:
                self.send(objects.Free([message.oid]))
        elif isinstance(message, objects.Ask):
            if self.owned.get(message.oid) == "pending":
                self.asked.add(message.oid)
            else:
                self._tell(message.oid)
        elif isinstance(message, objects.CopiesLost):
            self.reasons.append(message.text)
            for oid in message.oids:
                self._lost(oid, message.attempt)

    def _created(self, message: objects.StoreCreated) -> None:
        oid, (size, attempt) = message.oid, self.creating.pop(message.oid)
        owner = owner_of(oid)
        if message.offset < 0:
            assert message.error
            self.answers.append(message)
        else:
            if message.path:
                place = self.mapping.writable_file(message.path, message.offset, size)
            else:
                place = self.cluster.arenas[node_of(self.address)].view(message.offset, size)
            place[:] = content(oid, size, attempt)
            self.send(objects.StoreSeal(oid, size))
        self.cluster.send(self.address, owner, Done(oid, message.offset >= 0, attempt))

    def _done(self, message: Done) -> None:
        """A writer has ended; if it died, its task may be tried again."""
        oid = message.oid
        if message.ok or not self.remake or self.attempts.get(oid, 0) > 5:
            self._resolve(oid, "stored" if message.ok else "error")
        elif self.cluster.random.random() < 0.5:
            self._resolve(oid, "error")
            self.attempts[oid] = self.attempts.get(oid, 0) + 1
            self.send(objects.NewAttempt([oid], self.attempts[oid]))
        else:
            self.cluster.remake(oid, self.try_again(oid))

    def _fetched(self, message: objects.Fetched) -> None:
        self.answers.append(message)
        if message.offset < 0:
            self.waiting.discard((message.oid, False))
            return
        self.check(message)
        if (message.oid, True) in self.waiting:
            self.waiting.discard((message.oid, True))
            self.views.append(message)
        else:
            self.send(objects.Unpin([message.oid]))

    def _resolve(self, oid: ObjectId, state: str) -> None:
        self.owned[oid] = state
        if oid in self.asked:
            self.asked.discard(oid)
            self._tell(oid)

    def _tell(self, oid: ObjectId) -> None:
        kinds = {"stored": objects.STORED, "error": objects.ERROR, None: objects.FREED}
        self.send(objects.Tell(oid, kinds[self.owned.get(oid)]))

    def _lost(self, oid: ObjectId, attempt: int) -> None:
        state = self.owned.get(oid)
        if state is None:
            self._tell(oid)
        elif state == "stored" and attempt >= self.attempts.get(oid, 0):
            self.asked.add(oid)
            if self.remake:
                self.cluster.remake(oid, self.try_again(oid))
            else:
                self._resolve(oid, "error")


class Cluster:
    """Nodes 1 to `nodes`, each with a store of `store_bytes` and, if asked, a data plane."""

    def __init__(
        self, seed: int, nodes: int, store_bytes: int, spill_dir: str | None, plane: bool = False
    ) -> None:
        self.random = random.Random(seed)
        self.time = 0.0
        self._counter = itertools.count()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self.net = PlaneNet(self.after, random.Random(seed + 1000))
        self.arenas = {n: Arena.create(store_bytes) for n in range(1, nodes + 1)}
        self.managers: dict[int, ObjectManager] = {}
        self.processes: dict[Address, Process] = {}
        self._queues: dict[tuple[Address, Address], deque[tuple[Address, Address, Any]]] = {}
        self._handlers: dict[int, dict[type, Any]] = {}
        self._numbers = 0
        self.writers: dict[ObjectId, Address] = {}
        self.delivered: list[tuple[Address, Address, Any]] = []
        for node in self.arenas:
            manager = ObjectManager(
                node,
                self.arenas[node],
                [spill_dir] if spill_dir else [],
                send=lambda to, message, node=node: self.send(raylet_of(node), to, message),
                now=lambda: self.time,
                random=random.Random(seed + node),
                executor=LaterExecutor(),
                plane=SimPlane(self.net, node, self.arenas[node]) if plane else None,
            )
            self.managers[node] = manager
            self._handlers[node] = manager.handlers()

    def process(self, node: int) -> Process:
        """A new process on a node."""
        self._numbers += 1
        address = make_address(node, self._numbers)
        self.processes[address] = Process(self, address)
        return self.processes[address]

    def send(self, source: Address, to: Address, message: Any) -> None:
        """Put a message on the first part of its way: between nodes it goes through raylets."""
        self._forward(source, source, to, message)

    def remake(self, oid: ObjectId, attempt: int) -> None:
        """Some process runs the object's task again."""
        writer = self.random.choice([self.processes[key] for key in sorted(self.processes)])
        if oid not in writer.creating:
            writer.write(oid, self.random.randint(16, 200_000), attempt)
        else:
            self.send(writer.address, owner_of(oid), Done(oid, False, attempt))

    def step(self) -> bool:
        """Deliver one message, drawn among those that are next on their paths."""
        paths = sorted(self._queues)
        if not paths:
            return False
        path = self.random.choice(paths)
        queue = self._queues[path]
        source, to, message = queue.popleft()
        if not queue:
            del self._queues[path]
        if path[1] != to:
            self._forward(path[1], source, to, message)
        elif to in self.processes:
            self.processes[to].take(message)
        elif to & 0xFFFFFFFF == 0:
            self.delivered.append((source, to, message))
            self._handlers[node_of(to)][type(message)](source, message)
        return True

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._later, (self.time + seconds, next(self._counter), action))

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on, and the managers see it."""
        self.time += seconds
        while self._later and self._later[0][0] <= self.time:
            heapq.heappop(self._later)[2]()
        for manager in self.managers.values():
            manager.on_time()

    def settle(self, seconds: float = 0.0) -> None:
        """Deliver everything; the clock goes on by at least `seconds` on the way."""
        until = self.time + seconds
        while self.step() or self.time < until or self._busy():
            if not self._queues:
                self.pass_time(0.05)

    def kill_process(self, address: Address) -> None:
        """A process ends: what it has sent last may be lost."""
        del self.processes[address]
        for path in [path for path in self._queues if address in path]:
            if path[1] == address or self.random.random() < 0.5:
                del self._queues[path]
        self.managers[node_of(address)].on_process_died(address, "killed")
        self._break([oid for oid, writer in self.writers.items() if writer == address])

    def kill_node(self, node: int) -> None:
        """A node ends; everybody else is told."""
        doomed = [p for p in self.processes.values() if node_of(p.address) == node]
        for process in doomed:
            del self.processes[process.address]
        for path in [p for p in self._queues if node in (node_of(p[0]), node_of(p[1]))]:
            del self._queues[path]
        manager = self.managers.pop(node)
        manager.close()
        self.net.kill(node)
        for other in self.managers.values():
            other.on_node_gone(node, "killed")
        self._break([oid for oid, writer in self.writers.items() if node_of(writer) == node])

    def close(self) -> None:
        for manager in self.managers.values():
            manager.close()
        for arena in self.arenas.values():
            arena.close()

    def _break(self, oids: list[ObjectId]) -> None:
        """Owners hear that the writers of these are dead."""
        for oid in oids:
            del self.writers[oid]
            if owner_node_of(oid) in self.managers:
                # Of whichever attempt: its owner waits for no other.
                ended = Done(oid, False, 2**31)
                self.send(raylet_of(owner_node_of(oid)), owner_of(oid), ended)

    def _busy(self) -> bool:
        executors = any(manager._executor.busy for manager in self.managers.values())
        return executors or bool(self._later)

    def _forward(self, at: Address, source: Address, to: Address, message: Any) -> None:
        hop = to
        if node_of(at) != node_of(to):
            hop = raylet_of(node_of(at)) if at & 0xFFFFFFFF else raylet_of(node_of(to))
        if node_of(hop) in self.managers and node_of(at) in self.managers:
            self._queues.setdefault((at, hop), deque()).append((source, to, message))


def leftovers(cluster: Cluster) -> dict[str, Any]:
    """Whatever the managers still keep, by name; empty when all is as it should be at the end."""
    found: dict[str, Any] = {}
    for node, manager in cluster.managers.items():
        tables = {
            "used": manager.used,
            "spilled": manager.spilled,
            "objects": manager._table.objects,
            "writing": manager._table.writing,
            "pins": manager._table.pins,
            "owners of objects": manager._table._by_owner,
            "wants": manager._fetcher._wants,
            "entries": manager._directory._owners,
            "leaving": manager._directory._leaving,
            "pulls": manager._puller._active,
            "chunks under way": manager._puller._under_way,
            "spans under way": manager._puller._tokens,
            "parked pulls": manager._puller._parked,
        }
        found.update({f"node {node}: {name}": t for name, t in tables.items() if t})
    return found


def put(process: Process, size: int = 300_000) -> ObjectId:
    """Put an object of ours; should there be no room, until that is known."""
    oid = process.new()
    process.write(oid, size)
    for _ in range(10):
        process.cluster.settle()
        if process.owned[oid] != "pending":
            break
        process.cluster.pass_time(1)
    return oid


def get(process: Process, oid: ObjectId, pin: bool = True, within: float = 0.0) -> Any:
    """Fetch; the answer, if it comes within so many seconds."""
    process.fetch(oid, pin)
    process.cluster.settle(within)
    return process.answers.pop() if process.answers else None


def sent(cluster: Cluster, kind: type) -> list[Any]:
    """Which messages of a kind raylets have got."""
    return [message for _, _, message in cluster.delivered if isinstance(message, kind)]
