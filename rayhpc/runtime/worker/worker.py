"""A worker: the role of a process that runs tasks, or is one actor.

Made by `main`, and by the simulation with threads, clock and network of its own.  Puts together the
parts that decide (`lease_queue`, `replies`, `cpu_loan`, `generators`, `actor_calls`) with those
that run user code (`task_runner`, `actor`).  The main thread runs user code and, while it has none,
serves the sockets; the background thread serves them while user code runs long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.process.process import Process
from rayhpc.runtime.process.role import Handlers, Role
from rayhpc.runtime.worker.actor import ActorHost
from rayhpc.runtime.worker.argument_wait import ArgumentWait
from rayhpc.runtime.worker.cpu_loan import CpuLoan
from rayhpc.runtime.worker.definitions import Definitions, Load, unpickled
from rayhpc.runtime.worker.farewell import OTHERS_WITHIN_S, RAYLET_WITHIN_S, Farewell
from rayhpc.runtime.worker.generators import Producers
from rayhpc.runtime.worker.job_environment import JobEnvironment
from rayhpc.runtime.worker.lease_queue import LeaseQueue
from rayhpc.runtime.worker.parts import WorkerSlot
from rayhpc.runtime.worker.replies import Replies
from rayhpc.runtime.worker.task_log import TaskLog
from rayhpc.runtime.worker.task_runner import TaskRunner
from rayhpc.runtime.worker.threads import Threads
from rayhpc.runtime.worker.title import QUIET_S
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import actors, leases, task_runs, tasks, windows
from rayhpc.wire.messages.cluster import OwnedTasks
from rayhpc.wire.messages.common import Grant

logger = logging.getLogger("rayhpc")

JOB_TIMEOUT_S = 30.0
# How long an actor that leaves waits for what it has submitted: its callers wait, too.
UNFINISHED_WITHIN_S = 30.0
# A task that waits for longer lends its CPUs to others.
LEND_AFTER_S = 0.001


class Worker(Role):
    """What makes a worker of a process.

    Args:
        process: the process.
        slot: where it notes what it starts and finishes, for the raylet to read after a crash.
        threads: those that run user code.
        environment: sets up the process for a lease.
        load: makes functions and classes from what arrives.

    Attributes:
        leaving: why it ends; None: it serves.
        exit_code: the code it exits with.
        actor: the actor in this process, if there is one.
    """

    is_worker = True

    def __init__(
        self,
        process: Process,
        slot: WorkerSlot,
        threads: Threads,
        environment: JobEnvironment,
        load: Load = unpickled,
    ) -> None:
        super().__init__(process.loop)
        self.process = process
        send = process.core.send_now
        self.threads = threads
        self.slot = slot
        self.leaving: str | None = None
        self.exit_code = 0
        self.actor: ActorHost | None = None
        self.definitions = Definitions(load, threads.collect_garbage)
        self.log = TaskLog(process.core.now)
        self.queue = LeaseQueue(
            Grant(0, process.core.facts.job, {}), send, threads.interrupt_main, self._lease_revoked
        )
        self.replies = Replies(process.core, process.loop, slot)
        self.producers = Producers(self)
        self._farewell = Farewell(process.core)
        self._is_shut_down = False
        self._is_job_over = False
        self._loan = CpuLoan(process.core.raylet, send)
        self._arguments = ArgumentWait(process.core, process.loop, self._wait)
        self._environment = environment
        self._runner = TaskRunner(self)
        process.core.take_role(self)

    def collect_garbage(self) -> None:
        """Have the garbage collector look for references (leading thread)."""
        self.threads.collect_garbage()

    def handlers(self) -> Handlers:
        """The messages that only workers get."""
        queue, replies = self.queue, self.replies
        return {
            tasks.Push: self._on_push,
            tasks.Forget: self.definitions.forget,
            tasks.Calls: self._on_calls,
            tasks.Recall: queue.recall,
            tasks.Cancel: self._on_cancel,
            tasks.Adopted: lambda _, m: replies.on_adopted(m),
            tasks.StreamTaken: lambda _, m: self.producers.on_taken(m),
            leases.Revoke: lambda _, m: queue.revoke(m),
            leases.SubmitterGone: self._on_submitter_gone,
            leases.MayStart: self._arguments.on_may_start,
            leases.AssignJob: lambda _, m: self._environment.learn(m.job),
            leases.ExitIfIdle: self._on_exit_if_idle,
            actors.Construct: self._on_construct,
            actors.EndActor: self._on_end_actor,
            windows.Flushed: self._farewell.on_flushed,
        }

    # -- the main thread -------------------------------------------------------------------------
    def run(self) -> int:
        """Serve until told to leave; returns the exit code."""
        inside.thread.depth += 1  # in the runtime, except in user code
        self.process.loop.send(self.process.core.raylet, leases.WorkerReady(self.threads.pid))
        waiting = self.queue.waiting
        while self.leaving is None:
            if waiting:
                self._runner.run_next()
            elif self.actor is not None and self.actor.calls.has_work():
                self.actor.run_next()
            else:
                self.replies.flush()
                self._wait_for_work()
        if self.actor is not None:
            self.actor.shut_down()
        self._say_goodbye()
        # While this process is still a part of the cluster: they may use it, as the driver's may.
        self.threads.run_exit_handlers()
        if self.actor is not None:
            self._stay_while_unfinished()
        elif not self.exit_code:
            self._stay_while_needed()
        self._wait_until_read()
        return self.exit_code

    def leave(self, reason: str, code: int = 0) -> None:
        """End this process after the current task or call (any thread)."""
        self.exit_code = code
        self.leaving = reason
        self.process.loop.handover.wake_waiters()

    def enter_job_of(self, grant: Grant) -> None:
        """Set up what a lease or actor needs (its job, GPUs, threads), once the job is known."""
        self.queue.grant = grant
        self.log.uses = (grant.resources.get("CPU", 0), grant.resources.get("GPU", 0))
        here = self._environment
        if here.is_in_force(grant):
            return
        if not here.knows(grant.job):
            self.process.loop.wait_until(lambda: here.knows(grant.job), JOB_TIMEOUT_S)
        here.enter(grant)
        job = here.job(grant.job)
        process = self.process
        process.core.facts = msgspec.structs.replace(
            process.core.facts,
            job=job.number,
            namespace=job.namespace,
            detached=job.detached,
        )

    def _wait_for_work(self) -> None:
        title = self.threads.title
        if title.name is not None:
            if self.process.loop.wait_until(self._has_work, QUIET_S):
                return
            title.rest()
        self.process.loop.wait_until(self._has_work)

    def _has_work(self) -> bool:
        if self.queue.waiting or self.leaving is not None:
            return True
        return self.actor is not None and self.actor.calls.has_work()

    def _say_goodbye(self) -> None:
        process = self.process
        with process.loop.lead():
            self.advance()
            self._report_runs()
        self.replies.flush()
        if not self.exit_code:
            with process.loop.lead():
                self.queue.close()
                process.core.send_now(process.core.raylet, leases.Leaving(self.leaving or ""))

    def _stay_while_needed(self) -> None:
        """Serve others that hold objects of ours, or are about to, until they let go.

        What our tasks have submitted would end with this process, too.
        """
        with self.process.loop.lead():
            self.replies.watch_owners()
        self.process.loop.wait_until(
            lambda: self._is_shut_down or not (self.replies.kept() or self._is_owner())
        )

    def _stay_while_unfinished(self) -> None:
        """Give what the actor has submitted time to end, as in Ray."""
        unfinished = self.process.core.has_unfinished
        self.process.loop.wait_until(
            lambda: self._is_shut_down or not unfinished(), UNFINISHED_WITHIN_S
        )

    def _is_owner(self) -> bool:
        """Whether others hold objects of ours, or run what we have submitted (leading thread)."""
        core = self.process.core
        if core.ownership.holds_others():
            return True
        return not self._is_job_over and core.has_unfinished()

    def _wait_until_read(self) -> None:
        """Wait until our messages are read: they must be known before our end is."""
        farewell, wait_until = self._farewell, self.process.loop.wait_until
        with self.process.loop.lead():
            farewell.begin(self.replies.outbox.latest_receivers())
        if not wait_until(lambda: self._is_shut_down or farewell.is_over(), OTHERS_WITHIN_S):
            wait_until(lambda: self._is_shut_down or farewell.is_read_by_raylet(), RAYLET_WITHIN_S)

    # -- the turn --------------------------------------------------------------------------------
    def advance(self) -> None:
        """Send what other threads have left to the leading thread."""
        if self.actor is not None:
            self.actor.reply_to_ended()
        outbox = self.replies.outbox
        if outbox:
            outbox.send()
        waiting = self.process.core.windows.waiting_bytes
        if waiting or outbox.is_held_up:
            outbox.note_full_windows(waiting)
        if self.actor is not None:
            self.actor.release_held()
        if self.log.is_due():
            self._report_runs()

    def next_deadline(self) -> float | None:
        """The next deadline; an idle worker reports its runs, too."""
        return self.log.deadline()

    def _report_runs(self) -> None:
        """Report runs to the raylet (leading thread)."""
        process = self.process
        report = self.log.report(self.threads.pid, process.core.me)
        if report.count or report.dropped:
            process.core.send_now(process.core.raylet, report)

    def _lease_revoked(self, lease: int) -> None:
        """A lease that was taken back has ended: its last results are sent before saying so."""
        self.process.core.later(lambda: self._say_revoked(lease))
        self.process.loop.handover.wake_waiters()

    def _say_revoked(self, lease: int) -> None:
        # A process that ends as after a crash is given to nobody else: its end tells what it ran.
        if not self.exit_code and self.queue.end_lease(lease):
            self.replies.outbox.send()
            self.process.core.send_now(self.process.core.raylet, leases.Revoked(lease))

    # -- messages --------------------------------------------------------------------------------
    def _on_push(self, submitter: Address, message: tasks.Push) -> None:
        # Kept even if the tasks are refused: they are not sent again with the next push.
        self.definitions.learn(submitter, message.definitions)
        if self.leaving is not None:
            self.queue.is_closed = True
        self.queue.push(submitter, message)

    def _on_calls(self, caller: Address, message: tasks.Calls) -> None:
        if self.actor is not None:
            self.actor.calls.enqueue(caller, message.calls)

    def _on_submitter_gone(self, _: Address, message: leases.SubmitterGone) -> None:
        self.queue.abandon(message.lease)
        self.leave("its submitter has ended", code=1)

    def _on_exit_if_idle(self, _: Address, message: leases.ExitIfIdle) -> None:
        self._is_job_over = message.job_over
        busy = self.queue.waiting or self.queue.running or self.actor is not None
        if busy or self._is_owner():
            self.process.core.send_now(self.process.core.raylet, leases.StillNeeded())
        else:
            self.leaving = "idle"

    def answer(self, question: Any) -> list[Any] | None:
        """The runs not reported yet; the calls of this actor that wait."""
        if isinstance(question, task_runs.TaskRuns):
            return [self.log.unreported(self.threads.pid, self.process.core.me)]
        if isinstance(question, OwnedTasks) and self.actor is not None:
            return self.actor.queued(question.limit)
        return None

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Processes have ended: nobody takes items or borrows references in results for them."""
        self._farewell.on_peers_gone(is_gone)
        self.replies.on_owners_gone(is_gone)
        self.producers.on_owners_gone(is_gone)

    def on_sigterm(self) -> None:
        """The handler of SIGTERM, maybe sent to all processes of the job: the raylet knows."""
        core = self.process.core
        core.later(lambda: core.send_now(core.raylet, leases.SentSigterm()))
        # The main thread may be the one that polls, and a poll continues after a signal.
        self.process.loop.handover.wake_waiters()

    def on_shutdown(self, reason: str) -> None:
        """The node ends: so does this process, at once."""
        self._is_shut_down = True
        self.leaving = reason
        if self.queue.running or self.actor is not None:
            self.threads.end_process()

    def _on_cancel(self, source: Address, message: tasks.Cancel) -> None:
        tid = message.tid
        submitter, callers = self.process.core.submitter, self.process.core.callers
        if message.recursive:
            for child in submitter.children_of(tid):
                submitter.cancel(child, False, True)
            for child in callers.children_of(tid):
                callers.cancel(child, True)
        if self.actor is not None:
            self.actor.calls.cancel(source, tid)
        else:
            self.queue.cancel(source, tid)

    def _on_construct(self, _: Address, message: actors.Construct) -> None:
        self.replies.outlives_owners = True
        self.actor = ActorHost(self, message)

    def _on_end_actor(self, _: Address, message: actors.EndActor) -> None:
        if self.actor is not None:
            self.actor.calls.end_when_done(message.reason)

    # -- waiting, cancelling ---------------------------------------------------------------------
    def wait_blocking(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait; after a millisecond the task's CPUs are lent to others until the wait is over."""
        if done():
            return True
        if self.threads.asked():
            return False
        lease = self._lease_that_waits()
        if lease is None:
            return self._wait(done, timeout)
        first = LEND_AFTER_S if timeout is None else min(timeout, LEND_AFTER_S)
        if self._wait(done, first) or (timeout is not None and timeout <= first):
            return done()
        with self._lending(lease):
            return self._wait(done, None if timeout is None else timeout - first)

    def wait_for_arguments(self, done: Callable[[], bool], oids: list[ObjectId]) -> bool:
        """As `wait_blocking`, for what has not started; all it holds may be lent, not just CPUs.

        Raises:
            LeaseLostError: it cannot run here.
        """
        lease = self._lease_that_waits()
        if lease is None or self.queue.grant.resources.keys() <= {"CPU"}:
            return self.wait_blocking(done, None)
        if self._wait(done, LEND_AFTER_S) or self.threads.asked():
            return done()
        with self._lending(lease):
            devices = self._arguments.until(done, lease, oids, self.threads.asked)
        if devices is not None and devices != self.queue.grant.devices:
            self.enter_job_of(msgspec.structs.replace(self.queue.grant, devices=devices))
        return done()

    def construct(self) -> actors.Construct | None:
        """The order that made this process an actor; None: it runs tasks."""
        return self.actor.order if self.actor is not None else None

    def title(self) -> str:
        """How the actor is shown, if its class defines that."""
        return self.actor.title if self.actor is not None else ""

    def is_cancelled(self, tid: ObjectId) -> bool:
        """Whether the task or call that runs was cancelled."""
        if self.actor is not None:
            return self.actor.calls.is_cancelled(tid)
        return self.queue.is_cancelled(tid)

    def is_running_cancelled(self) -> bool:
        """Whether the task that runs at this moment was cancelled."""
        running = self.queue.running
        return bool(running) and self.queue.is_cancelled(running)

    def _wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        asked = self.threads.asked
        self.process.loop.wait_until(lambda: done() or asked(), timeout)
        return done()

    def _lease_that_waits(self) -> int | None:
        if self.actor is not None:
            return self.actor.lease_if_holding()
        running = self.threads.is_main() and self.queue.running
        return self.queue.grant.lease if running else None

    @contextmanager
    def _lending(self, lease: int) -> Iterator[None]:
        """The CPUs of a lease are lent meanwhile."""
        loop, now = self.process.loop, self.process.core.now
        with loop.lead():
            self.replies.outbox.send()
            if self.actor is None:
                self.queue.lend()
            self._loan.begin(lease)
        began = now()
        try:
            yield
        finally:
            self.log.waited += now() - began
            with loop.lead():
                if self._loan.end(lease):
                    self.queue.is_lent = False
