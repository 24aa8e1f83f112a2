"""The worker pool: starts workers ahead of need, binds them to jobs, reuses and ends them.

Used by `leases` and `actors`, which ask for a worker and are called back when there is one.  A
worker belongs to one job and runtime environment from its first lease on; before that it is
*plain*, and may go to any job without an environment of its own.  Never forks: the spawner does
(`main`); and knows nothing about resources: whoever asks already has them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from rayhpc.raylet.environments import Environments, Prepared
from rayhpc.raylet.jobs import KnownJobs
from rayhpc.raylet.sigterms import REASON, Sigterms
from rayhpc.raylet.templates import Template, Templates
from rayhpc.wire.address import Address, make_address
from rayhpc.wire.messages import leases
from rayhpc.wire.messages.start import WorkerConfig

logger = logging.getLogger("rayhpc")

# An idle worker beyond the number of CPUs is asked to exit after this time.
SURPLUS_IDLE_S = 10.0
START_PATIENCE_S = 60.0
RETRY_AFTER_S = 1.0
# A cluster usually ends together with its program; no workers should be forked at that moment.
REFILL_AFTER_JOB_S = 1.0
START_FAILURES_MAX = 3
# So many start at a time: a thousand short tasks that take no CPU need no thousand processes.
STARTS_PER_CPU, STARTS_MIN = 2, 8
# How long someone waits for a worker to end when there can be no more of them.
CROWDED_AFTER_S = 2.0

Key = tuple[int, bytes]
PLAIN: Key = (0, b"")

STARTING, IDLE, LEASED, ACTOR, LEAVING = "starting", "idle", "leased", "actor", "leaving"


class Spawner(Protocol):
    """Creates and signals processes."""

    def spawn(
        self, number: int, args: bytes, prepared: Prepared, template: Template | None
    ) -> None:
        """Fork worker `number`, from a template or the bare server."""

    def kill(self, number: int) -> None:
        """Kill worker `number`, now or as soon as it has a pid."""


@dataclass(eq=False)
class WorkerProcess:
    """One worker process; `death` says why we ended it, `lease` is what it serves.

    `is_crash`: we ended it, but did not want that.  `started` is in seconds since the epoch.

    `has_run` says that it has had a lease, `is_blind` that one of them had no GPU: libraries that
    looked for GPUs then will not find any later.
    """

    number: int
    address: Address
    slot: int
    key: Key
    since: float
    state: str = STARTING
    pid: int = 0
    lease: int = 0
    actor: bytes = b""
    name: str = ""
    death: str = ""
    for_memory: bool = False
    left: str | None = None
    is_asked_to_end: bool = False
    is_crash: bool = False
    started: float = field(default_factory=time.time)
    has_run: bool = False
    is_blind: bool = False


@dataclass(eq=False)
class Waiter:
    """A request for a worker of `key`; exactly one callback is called, unless cancelled.

    `fresh`: only a worker that has run nothing will do; `gpus`: it will have GPUs.  `crowded` is
    called once with a message, if the node can have no more workers and this has waited for a
    while.
    """

    key: Key
    ready: Callable[[WorkerProcess], None]
    failed: Callable[[str], None]
    fresh: bool = False
    gpus: bool = False
    crowded: Callable[[str], None] = lambda text: None
    is_cancelled: bool = False
    since: float = 0.0
    is_told: bool = False

    def takes(self, worker: WorkerProcess) -> bool:
        """Whether what the worker has run before does no harm."""
        if self.fresh:
            return not worker.has_run
        return not (self.gpus and worker.is_blind)


class WorkerPool:
    """All workers of one node.

    Args:
        base: the configuration for every worker (its facts are filled in per worker).
        node: this node's number.
        cpus: how many idle workers are kept.
        prestart: how many plain workers are kept ready while nothing runs.
        slots: the maximum number of workers at a time.
        spawner: creates processes.
        templates, environments, jobs: where workers come from, and what they need.
        send: sends a message.
        now: the time in seconds, monotonic.
        new_number: returns a new process number of this node.
    """

    def __init__(
        self,
        base: WorkerConfig,
        node: int,
        cpus: int,
        prestart: int,
        slots: int,
        spawner: Spawner,
        templates: Templates,
        environments: Environments,
        jobs: KnownJobs,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
        new_number: Callable[[], int],
    ) -> None:
        self._base = base
        self._node = node
        self._cpus = cpus
        self.prestart = prestart
        self._spawner = spawner
        self._templates = templates
        self._environments = environments
        self._jobs = jobs
        self._send = send
        self._now = now
        self._new_number = new_number
        self._slots = deque(range(slots))
        self.by_address: dict[Address, WorkerProcess] = {}
        self._waiting: dict[Key, deque[Waiter]] = {}
        self._failures: dict[Key, int] = {}
        self._retry_at = 0.0
        self._refill_at = 0.0
        self.is_closing = False
        self.sigterms = Sigterms(now)

    # -- requests -------------------------------------------------------------------------------
    def acquire(self, waiter: Waiter) -> None:
        """Give `waiter` a worker, at once if one is idle."""
        worker = self._idle_for(waiter) if self._is_known(waiter.key) else None
        if worker is not None:
            self._hand_over(worker, waiter)
            return
        waiter.since = self._now()
        self._waiting.setdefault(waiter.key, deque()).append(waiter)
        self.advance()

    def release(self, worker: WorkerProcess) -> None:
        """A worker's lease is over: it is idle, or goes to the next waiter at once."""
        if worker.state != LEASED:
            return
        self._become_idle(worker)
        self.advance()

    def kill(self, worker: WorkerProcess, reason: str, *, for_memory: bool = False) -> None:
        """Kill a worker's process; its end is reported like any other."""
        if not worker.death:
            worker.death = reason
            worker.for_memory = for_memory
        worker.state = LEAVING
        self._spawner.kill(worker.number)

    def start_ahead(self, key: Key, count: int) -> None:
        """Have up to `count` workers idle or starting for a key, beyond those waited for."""
        if not self._is_known(key) or not self._can_start(key):
            return
        states = Counter(x.state for x in self.by_address.values() if x.key == key)
        waiting = len(self._waiting.get(key, ()))
        # Whoever is still waiting cannot use the idle ones.
        missing = waiting - states[STARTING]
        ahead = waiting + min(count, self._cpus) - states[STARTING] - states[IDLE]
        starting = sum(x.state == STARTING for x in self.by_address.values())
        # One of each kind may always start: others may take long.
        room = max(max(STARTS_MIN, STARTS_PER_CPU * self._cpus) - starting, 1 - states[STARTING])
        for _ in range(min(room, max(missing, ahead))):
            self._start(key)

    # -- events ---------------------------------------------------------------------------------
    def on_spawned(self, number: int, pid: int) -> None:
        """A worker's process exists."""
        worker = self._with_number(number)
        if worker is not None:
            worker.pid = pid

    def on_spawn_failed(self, number: int, reason: str) -> None:
        """A worker could not be forked: try again a little later."""
        worker = self._with_number(number)
        if worker is None:
            return
        logger.warning("a worker could not be started (%s); trying again", reason)
        self._forget(worker)
        self._retry_at = self._now() + RETRY_AFTER_S

    def on_ready(self, address: Address, pid: int) -> None:
        """A new worker is listening."""
        worker = self.by_address.get(address)
        if worker is None or worker.state != STARTING:
            return
        worker.pid = worker.pid or pid
        self._failures.pop(worker.key, None)
        if worker.key != PLAIN:
            self._tell_job(worker)
        self._become_idle(worker)
        self.advance()

    def on_leaving(self, address: Address, reason: str) -> WorkerProcess | None:
        """A worker exits by itself: it is given to nobody else."""
        worker = self.by_address.get(address)
        if worker is not None:
            worker.left = reason
            worker.state = LEAVING
        return worker

    def on_still_needed(self, address: Address) -> None:
        """A worker that was asked to exit owns objects that others hold."""
        worker = self.by_address.get(address)
        if worker is not None and worker.is_asked_to_end:
            worker.is_asked_to_end = False
            worker.state = IDLE
            worker.since = self._now()

    def on_dead(self, worker: WorkerProcess) -> None:
        """A worker's process is gone: it is given to nobody any more, even if released now."""
        if worker.state != STARTING:
            worker.state = LEAVING

    def on_ended(self, worker: WorkerProcess, reason: str) -> None:
        """A worker's process is gone."""
        died_at_start = worker.state == STARTING and not worker.death
        self._forget(worker)
        if died_at_start:
            self._refill_at = self._now() + RETRY_AFTER_S
            failures = self._failures[worker.key] = self._failures.get(worker.key, 0) + 1
            if failures >= START_FAILURES_MAX:
                self._fail(
                    worker.key,
                    f"Workers end before they are ready ({reason}); the node's log has what they "
                    "printed.",
                )
        if not self.is_closing:
            self.advance()

    def on_job_over(self, job: int) -> None:
        """A job's driver has ended: workers that nobody waits for go.

        A detached actor of it lives on, with its tasks, and may yet have to be (re)started.
        """
        self._refill_at = max(self._refill_at, self._now() + REFILL_AFTER_JOB_S)
        for worker in list(self.by_address.values()):
            if worker.key[0] != job or self._is_waited_for(worker.key):
                continue
            if worker.state == IDLE:
                self.ask_to_end(worker)
            elif worker.left is not None:
                self._send(worker.address, leases.ExitIfIdle(job_over=True))
            elif worker.state == STARTING:
                self.kill(worker, "its job has ended")
        self._templates.retire(job)

    # -- decisions ------------------------------------------------------------------------------
    def advance(self) -> None:
        """Start what is waited for, hand out what is idle, fail what is unavailable."""
        if self.is_closing:
            return
        for key in list(self._waiting):
            self._serve(key)
        self._refill()

    def on_time(self) -> None:
        """Do what is due: surplus workers, workers that never became ready, delayed starts."""
        now = self._now()
        for worker in list(self.by_address.values()):
            if worker.state == STARTING and now - worker.since > START_PATIENCE_S:
                self.kill(worker, f"it was not ready within {START_PATIENCE_S:g} s")
        for worker in self._surplus(now):
            self.ask_to_end(worker)
        for sent in self.sigterms.due(self.by_address):
            sent.is_crash = True
            self.kill(sent, REASON)
        self._tell_the_crowd(now)
        self.advance()

    def deadline(self) -> float | None:
        """When `on_time` must be called; None: not before something happens."""
        now = self._now()
        times = [self._templates.deadline(), *self.sigterms.deadlines()]
        if self._waiting and self._retry_at > now:
            times.append(self._retry_at)
        if self._refill_at > now:
            times.append(self._refill_at)
        starting = [x for x in self.by_address.values() if x.state == STARTING]
        times += [x.since + START_PATIENCE_S for x in starting]
        if not self._slots:
            times += [x.since + CROWDED_AFTER_S for x in self._all_waiting() if not x.is_told]
        idle = [x for x in self.by_address.values() if x.state == IDLE]
        if len(idle) > self._cpus or any(self._jobs.is_over(x.key[0]) for x in idle):
            times.append(max(now + 1.0, min(x.since for x in idle) + SURPLUS_IDLE_S))
        return min((x for x in times if x is not None), default=None)

    def count(self) -> int:
        """The number of workers."""
        return len(self.by_address)

    # -- details --------------------------------------------------------------------------------
    def _serve(self, key: Key) -> None:
        waiting = self._waiting[key]
        while waiting and waiting[0].is_cancelled:
            waiting.popleft()
        if not waiting:
            del self._waiting[key]
            return
        if not self._is_known(key):
            return
        for waiter in list(waiting):
            if waiter.is_cancelled:
                waiting.remove(waiter)
            elif (worker := self._idle_for(waiter)) is not None:
                waiting.remove(waiter)
                self._hand_over(worker, waiter)
        if not waiting:
            self._waiting.pop(key, None)
        else:
            self.start_ahead(key, 0)

    def _is_waited_for(self, key: Key) -> bool:
        return any(not x.is_cancelled for x in self._waiting.get(key, ()))

    def _is_known(self, key: Key) -> bool:
        """Whether a job and environment are available; fails its waiters if they cannot be."""
        job = self._jobs.get(key[0])
        prepared = self._environments.get(key[1])
        if prepared is not None and prepared.error:
            self._fail(key, prepared.error)
            return False
        if job is None or prepared is None:
            return False
        if not self._jobs.is_over(key[0]):
            self._templates.prepare(job, key[1], prepared)
        return True

    def _can_start(self, key: Key) -> bool:
        return self._now() >= self._retry_at and not self._templates.is_worth_waiting(key)

    def _start(self, key: Key) -> None:
        if not self._slots:
            self._make_place()
            return
        prepared = self._environments.get(key[1])
        assert prepared is not None
        job = self._jobs.get(key[0]) if key != PLAIN else None
        number = self._new_number()
        address = make_address(self._node, number)
        slot = self._slots.popleft()
        worker = WorkerProcess(number, address, slot, key, self._now())
        self.by_address[address] = worker
        facts = msgspec.structs.replace(
            self._base.facts,
            address=address,
            job=key[0],
            namespace=job.namespace if job is not None else "",
            detached=job is not None and job.detached,
            environment=key[1],
        )
        config = msgspec.structs.replace(self._base, facts=facts, slot=slot)
        template = self._templates.source(key)
        if template is not None:
            template.workers.add(number)
        try:
            self._spawner.spawn(number, msgspec.msgpack.encode(config), prepared, template)
        except OSError as error:  # no descriptors left for its output
            self.on_spawn_failed(number, error.strerror or str(error))

    def _make_place(self) -> None:
        """There can be no more workers: the one idle longest goes, one at a time."""
        if any(x.state == LEAVING and x.is_asked_to_end for x in self.by_address.values()):
            return
        idle = [x for x in self.by_address.values() if x.state == IDLE]
        if idle:
            self.ask_to_end(min(idle, key=lambda x: x.since))

    def _tell_the_crowd(self, now: float) -> None:
        """Tell those waiting for a worker that cannot be started why they wait."""
        if self._slots:
            return
        for waiter in self._all_waiting():
            if not waiter.is_told and now - waiter.since >= CROWDED_AFTER_S:
                waiter.is_told = True
                waiter.crowded(
                    f"This node has {len(self.by_address)} workers and can have no more: each "
                    "takes three of the open files that one process may have. Raise that limit "
                    "before the cluster starts (ulimit -Hn), or use fewer actors."
                )

    def _all_waiting(self) -> list[Waiter]:
        return [x for each in self._waiting.values() for x in each if not x.is_cancelled]

    def _idle_for(self, waiter: Waiter) -> WorkerProcess | None:
        key = waiter.key
        plain: WorkerProcess | None = None
        best: WorkerProcess | None = None
        for worker in self.by_address.values():
            if worker.state != IDLE or not waiter.takes(worker):
                continue
            if worker.key == key and (best is None or worker.since > best.since):
                best = worker  # the most recently used has the warmest caches
            elif worker.key == PLAIN:
                plain = plain or worker
        return best or (plain if not key[1] else None)

    def _hand_over(self, worker: WorkerProcess, waiter: Waiter) -> None:
        if worker.key != waiter.key:
            worker.key = waiter.key
            self._tell_job(worker)
        worker.state = LEASED
        worker.has_run = True
        worker.is_blind = worker.is_blind or not waiter.gpus
        waiter.ready(worker)

    def _tell_job(self, worker: WorkerProcess) -> None:
        job = self._jobs.get(worker.key[0])
        prepared = self._environments.get(worker.key[1])
        assert job is not None
        assert prepared is not None
        if prepared.path or prepared.folder:
            job = msgspec.structs.replace(
                job, path=[*prepared.path, *job.path], folder=prepared.folder or job.folder
            )
        self._send(worker.address, leases.AssignJob(job))

    def _become_idle(self, worker: WorkerProcess) -> None:
        worker.state = IDLE
        worker.lease = 0
        worker.since = self._now()
        if self._jobs.is_over(worker.key[0]) and not self._is_waited_for(worker.key):
            self.ask_to_end(worker)

    def ask_to_end(self, worker: WorkerProcess) -> None:
        """Have an idle worker exit, unless it owns objects that others hold."""
        worker.state = LEAVING
        worker.is_asked_to_end = True
        self._send(worker.address, leases.ExitIfIdle(self._jobs.is_over(worker.key[0])))

    def _surplus(self, now: float) -> list[WorkerProcess]:
        idle = sorted(
            (x for x in self.by_address.values() if x.state == IDLE), key=lambda x: x.since
        )
        old = [x for x in idle if now - x.since >= SURPLUS_IDLE_S]
        over = [x for x in old if self._jobs.is_over(x.key[0])]
        return over or old[: max(0, len(idle) - self._cpus)]

    def _refill(self) -> None:
        """Keep a few plain workers while little else is running."""
        alive = sum(1 for x in self.by_address.values() if x.state != LEAVING)
        if not self._waiting and self._now() >= max(self._retry_at, self._refill_at):
            for _ in range(self.prestart - alive):
                self._start(PLAIN)

    def _fail(self, key: Key, reason: str) -> None:
        self._failures.pop(key, None)
        for waiter in self._waiting.pop(key, ()):
            if not waiter.is_cancelled:
                waiter.failed(reason)

    def _forget(self, worker: WorkerProcess) -> None:
        if self.by_address.pop(worker.address, None) is not None:
            self._slots.append(worker.slot)
            self._templates.on_worker_gone(worker.number)

    def _with_number(self, number: int) -> WorkerProcess | None:
        return self.by_address.get(make_address(self._node, number))
