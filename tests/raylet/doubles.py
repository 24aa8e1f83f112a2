"""A node without sockets and processes: a clock set by hand, an outbox, workers on paper."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from rayhpc.raylet.actors import HostedActors
from rayhpc.raylet.argument_loans import ArgumentLoans
from rayhpc.raylet.bundles import ReservedBundles
from rayhpc.raylet.dispatch import Dispatch
from rayhpc.raylet.environments import Environments, Prepared
from rayhpc.raylet.jobs import KnownJobs
from rayhpc.raylet.leases import Leases
from rayhpc.raylet.resources import Pool
from rayhpc.raylet.templates import Template, Templates
from rayhpc.raylet.view import ClusterView
from rayhpc.raylet.workers import WorkerPool, WorkerProcess
from rayhpc.wire.address import Address, make_address, raylet_of
from rayhpc.wire.messages import actors, leases
from rayhpc.wire.messages.cluster import Usage
from rayhpc.wire.messages.common import (
    DEFAULT_STRATEGY,
    UNIT,
    JobConfig,
    NodeInfo,
    Resources,
    SchedulingClass,
    Strategy,
)
from rayhpc.wire.messages.start import Facts, WorkerConfig

NODE = 1
JOB = 7
DRIVER = make_address(NODE, 100)


def units(**amounts: float) -> Resources:
    return {name: round(value * UNIT) for name, value in amounts.items()}


def job(number: int = JOB, driver: Address = DRIVER, preload: list[str] | None = None) -> JobConfig:
    return JobConfig(number, driver, "space", ["/driver"], "/folder", preload or [])


def wanted(
    strategy: Strategy = DEFAULT_STRATEGY,
    environment: bytes = b"",
    number: int = JOB,
    **amounts: float,
) -> SchedulingClass:
    return SchedulingClass(units(**(amounts or {"CPU": 1})), strategy, environment, number)


def node_info(number: int, labels: dict[str, str] | None = None, **amounts: float) -> NodeInfo:
    return NodeInfo(
        number,
        f"{number:056x}",
        f"10.0.0.{number}",
        f"host{number}",
        [(f"10.0.0.{number}", 5000)],
        b"k" * 40,
        units(**(amounts or {"CPU": 4})),
        labels or {},
        1 << 20,
        number == 1,
        1000 + number,
        "/session",
    )


class Channel:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Node:
    """The parts of a raylet that decide, with everything around them on paper."""

    def __init__(
        self, prestart: int = 0, slots: int = 100, gpus: int = 0, **amounts: float
    ) -> None:
        self.time = 100.0
        self.sent: list[tuple[Address, Any]] = []
        self.spawned: deque[tuple[int, WorkerConfig, Prepared, Template | None]] = deque()
        self.killed: list[int] = []
        self.watched: list[Address] = []
        self.templates_made: list[Any] = []
        self.channels: list[Channel] = []
        self._process = 0
        self._token = 0
        total = units(**(amounts or {"CPU": 2}))
        if gpus:
            total["GPU"] = gpus * UNIT
        self.pool = Pool(total, {str(i): UNIT for i in range(gpus)})
        self.view = ClusterView(NODE)
        info = node_info(NODE)
        self.view.add(msgspec.structs.replace(info, total=total))
        self.dispatch = Dispatch(self.now)
        self.bundles = ReservedBundles(self.pool, self.send)
        self.jobs = KnownJobs(raylet_of(NODE), NODE, self.send)
        self.environments = Environments("/nowhere", self.send, self.new_token, lambda: None)
        self.templates = Templates(self.make_template, self.now)
        facts = Facts(0, "c" * 32, "/session", "id", "10.0.0.1", 0, "")
        self.workers = WorkerPool(
            WorkerConfig(facts, 64, 1 << 20, 65, 0),
            NODE,
            max(1, total.get("CPU", 0) // UNIT),
            prestart,
            slots,
            self,
            self.templates,
            self.environments,
            self.jobs,
            self.send,
            self.now,
            self.new_process,
        )
        self.leases = Leases(
            self.pool,
            self.bundles,
            self.dispatch,
            self.view,
            self.workers,
            self.send,
            self.now,
            self.now,
            self.watched.append,
        )
        self.actors = HostedActors(
            self.pool,
            self.bundles,
            self.dispatch,
            self.workers,
            self.send,
            self.now,
            self.leases.new_number,
        )
        self.to_be_made: set[bytes] = set()
        self.loans = ArgumentLoans(
            self.dispatch,
            self.send,
            self.now,
            lambda worker, x: self.leases.allocation_of(x) or self.actors.allocation_of(x),
            lambda oids: not self.to_be_made.isdisjoint(oids),
            self.actors.place_again,
        )

    # -- what the parts call ----------------------------------------------------------------------
    def now(self) -> float:
        return self.time

    def send(self, address: Address, message: msgspec.Struct) -> None:
        self.sent.append((address, message))

    def spawn(
        self, number: int, args: bytes, prepared: Prepared, template: Template | None
    ) -> None:
        config = msgspec.msgpack.decode(args, type=WorkerConfig)
        self.spawned.append((number, config, prepared, template))

    def kill(self, number: int) -> None:
        self.killed.append(number)

    def make_template(self, message: Any) -> Channel:
        self.templates_made.append(message)
        self.channels.append(Channel())
        return self.channels[-1]

    def new_process(self) -> int:
        self._process += 1
        return self._process

    def new_token(self) -> int:
        self._token += 1
        return self._token

    # -- what a test does -------------------------------------------------------------------------
    def boot(self) -> list[WorkerProcess]:
        """Every worker that was spawned becomes ready."""
        ready = []
        while self.spawned:
            number = self.spawned.popleft()[0]
            address = make_address(NODE, number)
            self.workers.on_spawned(number, 5000 + number)
            ready.append(self.workers.by_address[address])
            self.workers.on_ready(address, 5000 + number)
        return ready

    def die(self, worker: WorkerProcess, reason: str = "it broke", started: bytes = b"") -> None:
        """A worker's process ends."""
        self.leases.on_worker_gone(worker, started, [], reason)
        self.actors.on_worker_gone(worker, reason)
        self.leases.on_client_gone(worker.address, reason)
        self.workers.on_ended(worker, reason)

    def request(
        self,
        number: int,
        what: SchedulingClass | None = None,
        client: Address = DRIVER,
        backlog: int = 1,
        hops: int = 0,
    ) -> None:
        message = leases.LeaseRequest(number, client, what or wanted(), backlog, hops)
        self.leases.on_request(message)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due then."""
        self.time += seconds
        self.workers.on_time()
        self.leases.on_time()
        self.actors.on_time()
        self.dispatch.run()

    def settle(self) -> None:
        if self.dispatch.is_dirty:
            self.dispatch.run()

    def take(self, kind: type, to: Address | None = None) -> list[Any]:
        """The messages of a kind sent since they were last taken."""
        found = [m for a, m in self.sent if isinstance(m, kind) and to in (None, a)]
        self.sent = [x for x in self.sent if not (isinstance(x[1], kind) and to in (None, x[0]))]
        return found

    def granted(self, client: Address | None = None) -> list[leases.LeaseGranted]:
        return self.take(leases.LeaseGranted, client)

    def worker(self, grant: leases.LeaseGranted) -> WorkerProcess:
        return self.workers.by_address[grant.worker]

    def join(self, number: int, labels: dict[str, str] | None = None, **amounts: float) -> None:
        self.view.add(node_info(number, labels, **amounts))

    def report(self, number: int, version: int, pending: int = 0, **amounts: float) -> None:
        self.view.update(Usage(number, units(**amounts), pending, version))
        self.leases.on_view_changed()


def actor_spec(
    actor: bytes = b"a" * 16,
    holding: Resources | None = None,
    placing: SchedulingClass | None = None,
) -> actors.ActorSpec:
    return actors.ActorSpec(
        actor=actor,
        owner=DRIVER,
        job=JOB,
        class_name="Counter",
        definition_id=b"d",
        definition=b"",
        methods=b"",
        args=b"",
        deps=[],
        placing=placing or wanted(CPU=1),
        holding=holding or {},
    )
