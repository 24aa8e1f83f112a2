"""The raylet: one node's state machine, composed of its parts; messages in, messages out.

Created by `main` (and by the simulation) once the head has given the node its number.  Decides
nothing itself: each message is dispatched to the part responsible for it, and what a death or a
change of the cluster means is passed to all parts in the order of `docs/explanation/protocol.md`.
Touches no socket, process or clock except those passed in.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.raylet import deaths
from rayhpc.raylet.actors import HostedActors
from rayhpc.raylet.argument_loans import ArgumentLoans
from rayhpc.raylet.backlogs import Backlogs
from rayhpc.raylet.broken_links import BrokenLinks
from rayhpc.raylet.bundles import ReservedBundles
from rayhpc.raylet.config import HEAD_LOST, NODE_LOST, REFUSED, NodeConfig
from rayhpc.raylet.dispatch import Dispatch
from rayhpc.raylet.draining import Draining
from rayhpc.raylet.ended_workers import EndedWorkers
from rayhpc.raylet.environments import Environments
from rayhpc.raylet.garbage import GarbageCalls
from rayhpc.raylet.groups import GroupOrders
from rayhpc.raylet.head_contact import HeadContact
from rayhpc.raylet.jobs import KnownJobs
from rayhpc.raylet.leases import Leases
from rayhpc.raylet.memory_monitor import MemoryMonitor
from rayhpc.raylet.node_io import NodeIO
from rayhpc.raylet.node_parts import Attached
from rayhpc.raylet.objects import ObjectManager
from rayhpc.raylet.output import Output
from rayhpc.raylet.process_numbers import ProcessNumbers
from rayhpc.raylet.reporting import Answers, Heartbeats
from rayhpc.raylet.resources import Allocation, Pool
from rayhpc.raylet.templates import Templates
from rayhpc.raylet.view import ClusterView
from rayhpc.raylet.watches import Watches
from rayhpc.raylet.workers import WorkerPool
from rayhpc.wire import roles
from rayhpc.wire.address import HEAD, Address, NodeNumber, make_address, node_of, raylet_of
from rayhpc.wire.messages import actors, cluster, leases, task_runs, windows
from rayhpc.wire.messages.common import UNIT, JobConfig, NodeInfo
from rayhpc.wire.messages.start import Facts, WorkerConfig

logger = logging.getLogger("rayhpc")

Send = Callable[[Address, msgspec.Struct], None]


class Raylet:
    """One node.

    Args:
        config: the launcher's decisions.
        registered: the head's welcome.
        base: what every worker is told; the node's facts are filled in.
        io: the outside world.
        objects: the object manager.
        memory: the memory monitor.
        send: sends a message.
        now: the time in seconds, monotonic.
        wall: seconds since the epoch.

    Attributes:
        head: how long to go on without the head.
        broken_links: to nodes that the head counts among the living.
    """

    def __init__(
        self,
        config: NodeConfig,
        registered: cluster.Registered,
        base: WorkerConfig,
        io: NodeIO,
        objects: ObjectManager,
        memory: MemoryMonitor,
        send: Send,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.config = config
        self.number = registered.number
        self.me = raylet_of(self.number)
        self.io = io
        self.objects = objects
        self.send = send
        # Orders received from the head so far: tells it what our reports include.
        self.orders = 0
        self.ended: tuple[int, str] | None = None
        self.attached: dict[Address, Attached] = {}
        self._facts = base.facts
        self._now = now
        self.memory = memory
        self._numbers = ProcessNumbers()
        self._tokens = itertools.count(1)
        self.broken_links = BrokenLinks(now)
        self._watched: set[Address] = set()
        self._gone: set[NodeNumber] = set()
        self.head = HeadContact(now, registered.life)
        self._make_parts(base, wall)
        for info in registered.nodes:
            self._add_node(info)
        self._handlers = self._make_handlers()
        self.workers.advance()

    def _make_parts(self, base: WorkerConfig, wall: Callable[[], float]) -> None:
        config, send, now = self.config, self.send, self._now
        self.pool = Pool(config.total, dict.fromkeys(config.gpu_ids, UNIT))
        self.view = ClusterView(self.number)
        self.bundles = ReservedBundles(self.pool, send)
        self.dispatch = Dispatch(now)
        self.jobs = KnownJobs(self.me, self.number, send)
        self.environments = Environments(
            f"{config.session_dir}/packages", send, self._new_token, self.io.wake
        )
        self.templates = Templates(self.io.make_template, now)
        self.ended_workers = EndedWorkers()
        self.workers = WorkerPool(
            base,
            self.number,
            config.cpus,
            min(config.prestart, config.cpus),
            self.io.slots.count,
            self.io,
            self.templates,
            self.environments,
            self.jobs,
            send,
            now,
            self._numbers.next,
        )
        leasing = self.pool, self.bundles, self.dispatch, self.view, self.workers
        self.leases = Leases(*leasing, send, now, wall, self._watch)
        self.backlogs = Backlogs(self.is_alive)
        hosting = self.pool, self.bundles, self.dispatch, self.workers
        self.actors = HostedActors(*hosting, send, now, self.leases.new_number)
        self.loans = ArgumentLoans(
            self.dispatch,
            send,
            now,
            self._allocation,
            self.objects.is_to_be_made,
            self.actors.place_again,
        )
        self.groups = GroupOrders(
            self.pool, self.bundles, self.dispatch, self.leases, self.actors, send, now
        )
        self.watches = Watches(send, self.is_alive)
        self.heartbeats = Heartbeats(self.number, self.pool, send, now)
        self.draining = Draining(self, now)
        self._garbage = GarbageCalls(now)
        self.answers = Answers(self, config.runs_kept)
        self.output = Output(config.node_ip, send)

    def _make_handlers(self) -> dict[type, Callable[[Address, Any], None]]:
        workers, lease, actor = self.workers, self.leases, self.actors
        return {
            **self.objects.handlers(),
            cluster.HeadAlive: lambda _, m: self.head.heard(m.heard),
            cluster.Rejoined: self._on_rejoined,
            cluster.RegistrationRefused: lambda _, m: self.end(REFUSED, m.reason),
            cluster.NodeUp: self._on_node_up,
            cluster.View: self._on_view,
            cluster.Drain: lambda _, m: self.draining.begin(m.reason, m.deadline, stays=m.stays),
            cluster.Undrain: lambda _, m: self.draining.revoke(),
            cluster.JobIs: self._on_job_is,
            cluster.Request: self.answers.on_request,
            cluster.Reply: self._on_reply,
            task_runs.ReportRuns: lambda _, m: self.answers.runs.add(m),
            actors.StartActor: self._on_start_actor,
            actors.StopActor: lambda _, m: actor.on_stop(m),
            actors.Constructed: actor.on_constructed,
            actors.PrepareBundles: self._on_prepare_bundles,
            actors.ReleaseBundles: self._on_release_bundles,
            actors.GroupIs: lambda _, m: self.groups.on_group_is(m),
            leases.LeaseRequest: self._on_lease_request,
            leases.LeaseCancel: lambda _, m: lease.on_cancel(m),
            leases.Backlog: self.backlogs.on_backlog,
            leases.LeaseReturn: self._on_lease_return,
            leases.Revoked: self._on_revoked,
            leases.WorkerReady: lambda source, m: workers.on_ready(source, m.pid),
            leases.Blocked: self._on_blocked,
            leases.Unblocked: self._on_unblocked,
            leases.ArgumentsMissing: self.loans.on_missing,
            leases.ArgumentsHere: self.loans.on_here,
            leases.Leaving: self._on_leaving,
            windows.Flush: lambda source, _: self.send(source, windows.Flushed()),
            leases.StillNeeded: lambda source, m: workers.on_still_needed(source),
            leases.SentSigterm: lambda source, _: workers.sigterms.note(source),
            leases.LinesTaken: self.output.on_taken,
            leases.Watch: lambda _, m: self.watches.on_watch(m),
            leases.Died: lambda _, m: self._remote_died(m.target, m.reason),
            leases.NodeGone: self._on_node_gone,
            leases.Shutdown: lambda _, m: self.end(m.code, m.reason),
        }

    # -- for the loop ---------------------------------------------------------------------------
    def handle(self, source: Address, message: msgspec.Struct) -> None:
        """Handle one message."""
        handler = self._handlers.get(type(message))
        if handler is None:
            logger.warning("a message that means nothing here: %s", type(message).__name__)
            return
        if roles.admits(source, message, self.send):
            handler(source, message)
        if self.heartbeats.are_overdue():
            self.heartbeats.beat(self)

    def settle(self) -> None:
        """After each turn: grant what can be granted, tell the head what has changed."""
        self.head.turned()
        if reason := self.draining.settle():
            self.end(0, reason)
        if self.dispatch.is_dirty:
            self.dispatch.run()
        self.heartbeats.beat(self)
        self._garbage.ask(self)

    def on_time(self) -> None:
        """Do everything that is due."""
        self.environments.collect()
        self.workers.on_time()
        self.leases.on_time()
        self.actors.on_time()
        self.objects.on_time()
        self.dispatch.is_dirty = True
        for node in self.broken_links.overdue():
            self.send(HEAD, cluster.LinkBroken(node))
        for node in self.broken_links.to_redial():
            self.io.redial(node)
        verdict = self.head.verdict()
        if verdict:
            self.end(HEAD_LOST, verdict)
        self._look_at_memory()

    def deadline(self) -> float:
        """When `on_time` and `settle` must be called at the latest."""
        times = [
            self.workers.deadline(),
            self.leases.deadline(),
            self.actors.deadline(),
            self.dispatch.deadline(),
            self.objects.deadline(),
            self.heartbeats.deadline(self),
            self.memory.deadline(),
            self.draining.deadline(),
            self.head.deadline(),
            self.broken_links.deadline(),
        ]
        return min(x for x in times if x is not None)

    # -- processes of this node -----------------------------------------------------------------
    def is_alive(self, address: Address) -> bool:
        """Whether a process of this node is alive."""
        return address in self.workers.by_address or address in self.attached

    def attach(self, hello: dict[str, Any], pid: int) -> Facts:
        """A driver, observer or operator attaches: give it an address, and a driver a job."""
        role = str(hello.get("role", "driver"))
        address = make_address(self.number, self._numbers.next(role))
        facts = msgspec.structs.replace(self._facts, address=address)
        if role == "driver":
            job = _job_of(hello, self.jobs.new_number(), address, pid)
            self.jobs.add(job)
            self.send(HEAD, cluster.JobStarted(job))
            facts = msgspec.structs.replace(
                facts,
                job=job.number,
                namespace=job.namespace,
                environment=job.environment,
                detached=job.detached,
            )
            self._warm_up(job)
        self.attached[address] = Attached(address, pid, role, facts.job)
        return facts

    def detach(self, address: Address, reason: str) -> None:
        """A driver or observer has ended or left."""
        found = self.attached.pop(address, None)
        if found is not None:
            is_driver = found.role == "driver"
            deaths.attached_ended(self, address, reason, is_driver=is_driver)

    def worker_ended(self, pid: int, status: int) -> None:
        """A child of the fork server has ended."""
        for worker in self.workers.by_address.values():
            if worker.pid == pid:
                deaths.worker_ended(self, worker, status)
                return

    def job_over(self, driver: Address) -> None:
        """A driver is gone: its jobs' idle workers and templates are no longer needed."""
        for number in self.jobs.of_driver(driver):
            self.jobs.end(number)
            self.workers.on_job_over(number)
        self.output.forget(driver)

    def processes(self) -> list[Address]:
        """All processes on this node that can be sent messages."""
        return [*self.attached, *self.workers.by_address]

    def pass_on_output(self, job: int) -> None:
        """Deliver what a job's workers have printed by now."""
        for worker in self.workers.by_address.values():
            if worker.key[0] == job:
                self.io.read_output(worker.number)

    # -- the cluster ----------------------------------------------------------------------------
    def node_gone(self, node: NodeNumber, reason: str) -> None:
        """A node is dead, and everything on it."""
        self.broken_links.drop(node)
        if node == self.number:
            self.end(NODE_LOST, f"the head has declared this node dead: {reason}")
            return
        if node in self._gone:
            return
        self._gone.add(node)
        self.view.remove(node)
        logger.warning("node %d is gone: %s", node, reason)
        self.io.forget_node(node, reason)
        # First: whoever is asked to reconstruct lost objects should know whom not to ask any more.
        for address in self.processes():
            self.send(address, leases.NodeGone(node, reason))
        self.objects.on_node_gone(node, reason)
        self.watches.on_node_gone(node)
        self.leases.on_node_gone(node, reason)
        for job in self.jobs.on_node(node):
            self.job_over(job.driver)
        self._watched = {x for x in self._watched if node_of(x) != node}
        self.leases.on_view_changed()

    def link_broken(self, node: NodeNumber) -> None:
        """The connection to a raylet is gone: if the head does not explain it, it must choose."""
        if node in self.view.nodes:
            self.broken_links.add(node)

    def drain(self, reason: str, within: float | None = None) -> None:
        """Take no new work, and end once nothing is running, or after `within` seconds."""
        self.draining.begin(reason, within)

    def end(self, code: int, reason: str) -> None:
        """End the node, with this exit code."""
        if self.ended is None:
            self.ended = (code, reason)
            self.workers.is_closing = True

    # -- messages -------------------------------------------------------------------------------
    def _add_node(self, info: NodeInfo) -> None:
        if info.number in self._gone:
            return
        self.view.add(info)
        if info.number != self.number:
            self.io.learn_node(info)
            self.leases.on_view_changed()

    def _on_rejoined(self, _: Address, message: cluster.Rejoined) -> None:
        """There is a connection to the head again; views and heartbeats have been lost."""
        logger.warning(self.head.rejoined(message.heard, message.life))
        self.heartbeats.repeat()
        for info in message.nodes:
            self._add_node(info)
        for node in self.broken_links.told:  # perhaps in vain
            self.send(HEAD, cluster.LinkBroken(node))

    def _on_node_up(self, _: Address, message: cluster.NodeUp) -> None:
        for info in (message.info, *message.more):
            self._add_node(info)

    def _on_node_gone(self, _: Address, message: leases.NodeGone) -> None:
        for node in (message.node, *message.more):
            self.node_gone(node, message.reason)

    def _on_start_actor(self, _: Address, message: actors.StartActor) -> None:
        self.orders += 1
        self.actors.on_start(message)

    def _on_prepare_bundles(self, _: Address, message: actors.PrepareBundles) -> None:
        self.orders += 1
        self.groups.on_prepare(message)

    def _on_release_bundles(self, _: Address, message: actors.ReleaseBundles) -> None:
        self.orders += 1
        self.groups.on_release(message)

    def _on_view(self, _: Address, message: cluster.View) -> None:
        news = [x for x in message.changed if self.view.update(x)]
        if news:
            self.leases.on_view_changed()

    def _on_job_is(self, _: Address, message: cluster.JobIs) -> None:
        self.jobs.add(message.job)
        self.workers.advance()

    def _on_reply(self, _: Address, message: cluster.Reply) -> None:
        if self.environments.on_reply(message):
            self.workers.advance()

    def _on_lease_request(self, _: Address, message: leases.LeaseRequest) -> None:
        client = message.client
        gone = node_of(client) in self.view.gone
        if gone or (node_of(client) == self.number and not self.is_alive(client)):
            return
        self.leases.on_request(message)

    def _on_lease_return(self, _: Address, message: leases.LeaseReturn) -> None:
        if message.kill and message.task:
            worker = self.leases.worker_of(message.lease)
            if worker is None or self.io.slots.read(worker.slot)[0] != message.task:
                return
        self.leases.on_return(message)

    def _on_revoked(self, source: Address, message: leases.Revoked) -> None:
        worker = self.workers.by_address.get(source)
        started = b"" if worker is None else self.io.slots.read(worker.slot)[0]
        self.leases.on_revoked(message, started)

    def _on_leaving(self, source: Address, message: leases.Leaving) -> None:
        worker = self.workers.on_leaving(source, message.reason)
        if worker is not None:
            self.leases.on_left(worker, self.io.slots.read(worker.slot)[0])

    def _on_blocked(self, source: Address, message: leases.Blocked) -> None:
        allocation = self._allocation(source, message.lease)
        if allocation is not None:
            self.leases.on_blocked(allocation)

    def _on_unblocked(self, source: Address, message: leases.Unblocked) -> None:
        allocation = self._allocation(source, message.lease)
        if allocation is not None:
            self.leases.on_unblocked(allocation)

    # -- details --------------------------------------------------------------------------------
    def _warm_up(self, job: JobConfig) -> None:
        """Start the template for a job's workers before the first of them is requested."""
        prepared = self.environments.get(job.environment)
        if prepared is not None and not prepared.error:
            self.templates.prepare(job, job.environment, prepared)
        self.workers.advance()

    def _remote_died(self, address: Address, reason: str) -> None:
        """A process of another node, whose end we watched, has ended."""
        self._watched.discard(address)
        is_driver = bool(self.jobs.of_driver(address))
        self.leases.on_client_gone(address, reason, at_once=is_driver)
        self.job_over(address)

    def _watch(self, address: Address) -> None:
        """Watch for a submitter's end; those on this node need no watch."""
        node = node_of(address)
        if node != self.number and address not in self._watched:
            self._watched.add(address)
            self.send(raylet_of(node), leases.Watch(address, self.me))

    def _allocation(self, worker: Address, lease: int) -> Allocation | None:
        found = self.workers.by_address.get(worker)
        if found is None or found.lease != lease:
            return None
        return self.leases.allocation_of(lease) or self.actors.allocation_of(lease)

    def _look_at_memory(self) -> None:
        found = self.memory.look(list(self.workers.by_address.values()))
        if found is not None:
            worker, reason = found
            logger.warning("worker %d: %s", worker.pid, reason)
            self.workers.kill(worker, reason, for_memory=True)

    def _new_token(self) -> int:
        return next(self._tokens)


def _job_of(hello: dict[str, Any], number: int, driver: Address, pid: int) -> JobConfig:
    """A driver's hello in the form the cluster uses."""
    return JobConfig(
        number,
        driver,
        str(hello.get("namespace", "")),
        list(hello.get("path", [])),
        str(hello.get("folder", "")),
        list(hello.get("preload", [])),
        bytes(hello.get("environment", b"")),
        bool(hello.get("log_to_driver", True)),
        str(hello.get("entrypoint", "")),
        pid,
        float(hello.get("started", 0.0)),
        str(hello.get("setup", "")),
        bool(hello.get("detached", False)),
    )
