"""A worker: the process that runs tasks, or is one actor.

Made by `worker_main`.  The main thread runs user code and, while it has none, serves the sockets;
the background thread serves them while user code runs long.  Never imports user modules before it
is told the job they belong to.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rayhpc.runtime.process.context import TaskContext, running
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.process.process import Process
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.names import make_nameable
from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.actor import ActorHost
from rayhpc.runtime.worker.generators import Producers
from rayhpc.runtime.worker.job_environment import JobEnvironment
from rayhpc.runtime.worker.outbox import REPLY_WITHIN_S, Outbox
from rayhpc.runtime.worker.task_log import TaskLog
from rayhpc.runtime.worker.title import QUIET_S, Title
from rayhpc.store.mapping import Mapping
from rayhpc.wire import limits
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import actors, cluster, leases, tasks
from rayhpc.wire.messages.common import Grant
from rayhpc.wire.messages.start import Facts
from rayhpc.wire.slots import Slot

logger = logging.getLogger("rayhpc")

JOB_TIMEOUT_S = 30.0


class _Queued(msgspec.Struct, eq=False, gc=False):
    """A task that has not started."""

    task: tasks.Task
    submitter: Address
    lease: int


class Worker(Process):
    """One worker process.

    Args:
        facts: who and where it is.
        mapping: its node's object store.
        slot: where it notes what it starts, for the raylet to read after a crash.
        gpu_variable: names the environment variable with the GPUs a program may see.
    """

    is_worker = True

    def __init__(
        self, facts: Facts, mapping: Mapping, slot: Slot, gpu_variable: str = ""
    ) -> None:
        self.slot = slot
        self.title = Title()
        self._main_thread = threading.get_ident()
        self._job_environment = JobEnvironment(gpu_variable)
        self.queue: deque[_Queued] = deque()
        self.leaving: str | None = None
        self.exit_code = 0
        self.actor: ActorHost | None = None
        self.log = TaskLog()
        self._grant = Grant(0, facts.job, {})
        self._holder: Address = 0
        self._revoked = 0
        self._revoke_after = 0
        self._blocked = False
        self._definitions: dict[bytes, Any] = {}
        self._calls_made: dict[bytes, int] = {}
        self.running_tid: ObjectId = b""
        self._cancelled: ObjectId | None = None
        self._kept: dict[ObjectId, tuple[Address, Sequence[Any]]] = {}
        self._task_seconds = 1.0
        self._shut_down = False
        super().__init__(facts, mapping)
        self.outbox = Outbox(slot, self.transport.send)
        self.producers = Producers(self)

    def make_handlers(self) -> dict[type, Callable[[Address, Any], None]]:
        """A process's handlers, and a worker's own."""
        return {
            **super().make_handlers(),
            tasks.Push: self._on_push,
            tasks.Calls: self._on_calls,
            tasks.Recall: self._on_recall,
            tasks.Cancel: self._on_cancel,
            tasks.Adopted: self._on_adopted,
            tasks.StreamTaken: lambda _, m: self.producers.on_taken(m),
            leases.Revoke: self._on_revoke,
            leases.AssignJob: self._on_assign_job,
            leases.ExitIfIdle: self._on_exit_if_idle,
            actors.Construct: self._on_construct,
            actors.EndActor: self._on_end_actor,
        }

    # -- the main thread -------------------------------------------------------------------------
    def run(self) -> int:
        """Serve until told to leave; returns the exit code."""
        self.send(self.raylet, leases.WorkerReady(os.getpid()))
        queue = self.queue
        while self.leaving is None:
            if queue:
                self._run_next()
            elif self.actor is not None and self.actor.has_work():
                self.actor.run_next()
            else:
                self.flush_replies()
                self._wait_for_work()
        if self.actor is not None:
            self.actor.shut_down()
        self._say_goodbye()
        if not self.exit_code and self.actor is None:
            self._stay_while_needed()
        return self.exit_code

    def _wait_for_work(self) -> None:
        if self.title.is_running:
            if self.wait_until(self._has_work, QUIET_S):
                return
            self.title.rest()
        self.wait_until(self._has_work)

    def _has_work(self) -> bool:
        return bool(self.queue) or self.leaving is not None or self._has_call()

    def _has_call(self) -> bool:
        return self.actor is not None and self.actor.has_work()

    def _run_next(self) -> None:
        if self.windows.waiting_bytes > limits.AHEAD_BYTES:
            # Those who get our results do not take them in.
            self.wait_until(
                lambda: self.windows.waiting_bytes <= limits.AHEAD_BYTES or not self.queue
            )
        try:
            item = self.queue.popleft()
        except IndexError:  # recalled in the meantime
            return
        if self.outbox and (
            self._task_seconds > REPLY_WITHIN_S
            or self.outbox.is_old()
        ):
            self.flush_replies()
        task = item.task
        self.slot.note_start(task.tid)
        self.running_tid = task.tid
        try:
            outcome = self._run(item)
        finally:
            self.running_tid = b""
        if outcome is not None:
            self.reply(item.submitter, outcome)
        self._after_task(item)

    def _run(self, item: _Queued) -> execution.Outcome | None:
        task = item.task
        more = task.more
        name = more.name if more is not None and more.name else ""
        micros = 0
        failed = True
        start = time.perf_counter()
        token = None
        try:
            if not self._job_environment.is_in_force(self._grant):
                self.enter_job_of(self._grant)
            function = self._definitions.get(task.definition)
            if function is None or type(function) is bytes:
                function = self._load(task.definition)
            name = name or function.__name__
            self.title.run(name)
            capture = more is not None and more.capture_group
            context = TaskContext(
                task.tid, name, self._grant, task.attempt, capture_group=capture
            )
            token = running.set(context)
            args, kwargs = execution.arguments(self, task)
            start = time.perf_counter()
            value = function(*args, **kwargs)
            if task.returns == tasks.STREAMING:
                outcome = self.producers.run(item.submitter, task, value, start)
                failed = False
                return outcome
            micros = int((time.perf_counter() - start) * 1e6)
            args = kwargs = None  # type: ignore[assignment]
            outcome = execution.succeeded(self, task, value, micros)
            failed = False
            return outcome
        except SystemExit as error:
            self._leave_by_exit(error, name)
            return None
        except BaseException as error:
            micros = int((time.perf_counter() - start) * 1e6)
            return self._failure(task, error, name, micros)
        finally:
            if token is not None:
                running.reset(token)
            self._task_seconds = time.perf_counter() - start
            self.log.note(task, name, start, self._task_seconds, self.facts.job, b"", failed)

    def _failure(
        self, task: tasks.Task, error: BaseException, name: str, micros: int
    ) -> execution.Outcome:
        if isinstance(error, KeyboardInterrupt) and self.was_cancelled(task.tid):
            return execution.Outcome(tasks.Result(task.tid, tasks.CANCELLED, [b""], micros), [])
        return execution.failed(task, error, name, self.facts.node_ip, None, micros)

    def _leave_by_exit(self, error: SystemExit, name: str) -> None:
        self.leaving = f"task {name!r} called sys.exit({error.code!r})"
        self.exit_code = error.code if isinstance(error.code, int) else 1
        self.exit_code = self.exit_code or 1

    def _after_task(self, item: _Queued) -> None:
        more = item.task.more
        if more is not None and more.max_calls:
            made = self._calls_made.get(item.task.definition, 0) + 1
            self._calls_made[item.task.definition] = made
            if made >= more.max_calls:
                self.leaving = "max_calls reached"
        if self._revoke_after and not self.queue:
            self._end_lease()

    def _say_goodbye(self) -> None:
        with self.lead():
            self._report_runs()
        if not self.exit_code:
            self.flush_replies()
            with self.lead():
                unstarted = self._unstarted()
                if self._holder:
                    unstarted.setdefault(self._holder, [])  # told that the lease has ended
                for submitter, items in unstarted.items():
                    tids = [x.task.tid for x in items]
                    lease = items[0].lease if items else self._grant.lease
                    self.transport.send(submitter, tasks.Refused(lease, tids, ended=True))
                self.transport.send(self.raylet, leases.Leaving(self.leaving or ""))

    def _stay_while_needed(self) -> None:
        """Others hold objects of ours, or are about to: they are served until they let go."""
        with self.lead():
            for owner, _ in self._kept.values():
                self.ownership.watch(owner)
        self.wait_until(
            lambda: self._shut_down or not (self._kept or self.ownership.holds_others())
        )

    def _unstarted(self) -> dict[Address, list[_Queued]]:
        found: dict[Address, list[_Queued]] = {}
        while self.queue:
            item = self.queue.popleft()
            found.setdefault(item.submitter, []).append(item)
        return found

    # -- replies ---------------------------------------------------------------------------------
    def reply(self, submitter: Address, outcome: execution.Outcome) -> None:
        """Queue a result; it goes out within a millisecond, and is in the journal until then."""
        result = outcome.result
        if outcome.kept:
            with self.lead():
                self.keep(submitter, result.tid, outcome.kept)
        claims = self.ownership.has_news() or self.ownership.claims_pending()
        if claims and self._reply_with_claims(submitter, result):
            return
        if not self.outbox.add(submitter, result):
            self.flush_replies()

    def flush_replies(self) -> None:
        """Send the results that wait."""
        if self.outbox:
            with self.lead():
                self.outbox.send()

    def flush_replies_if_due(self, more: bool) -> None:
        """Send the results that wait, unless another follows within half a millisecond."""
        if not more or self.outbox.is_old():
            self.flush_replies()

    def keep(self, owner: Address, oid: ObjectId, refs: Sequence[Any]) -> None:
        """Keep references inside a result alive until its owner says `Adopted` (leading thread)."""
        self._kept[oid] = owner, refs
        # A leased worker ends with its submitter; an actor outlives its callers.
        if self.actor is not None:
            self.ownership.watch(owner)

    def leave(self, reason: str, code: int = 0) -> None:
        """End this process after what runs now (any thread)."""
        self.exit_code = code
        self.leaving = reason
        self.handover.nudge()

    def _reply_with_claims(self, submitter: Address, result: tasks.Result) -> bool:
        """Reply to a task whose arguments are still needed; False: they are not."""
        with self.lead():
            self.ownership.settle()
            if not self.ownership.claims_pending():
                return False
            self.outbox.add(submitter, msgspec.structs.replace(result, held=True))
            # At once: the release must not overtake it.
            self.outbox.send()
            self.ownership.after_borrows(submitter, tasks.Release([result.tid]))
        return True

    def advance(self) -> None:
        super().advance()
        if self.actor is not None:
            self.actor.reply_to_ended()
        if self.outbox:
            self.outbox.send()
        if self.log.is_due():
            self._report_runs()

    def _report_runs(self) -> None:
        """Tell the raylet what was run (leading thread)."""
        report = self.log.report(os.getpid(), self.me)
        if report.count or report.dropped:
            self.transport.send(self.raylet, report)

    def next_deadline(self) -> float | None:
        """As of every process; a worker without work tells what it has run, too."""
        due, report = super().next_deadline(), self.log.deadline()
        if due is None or report is None:
            return report if due is None else due
        return min(due, report)

    # -- messages --------------------------------------------------------------------------------
    def _on_push(self, submitter: Address, message: tasks.Push) -> None:
        # Kept even if the tasks are refused: they do not come with the next push again.
        for key, blob in message.definitions.items():
            self._definitions.setdefault(key, blob)
        if message.lease <= self._revoked or self.leaving is not None:
            tids = [x.tid for x in message.tasks]
            self.transport.send(submitter, tasks.Refused(message.lease, tids, ended=True))
            return
        if message.grant is not None:
            self._holder = submitter
            self._grant = message.grant
        lease = message.lease
        if self._blocked:
            tids = [x.tid for x in message.tasks]
            self.transport.send(submitter, tasks.Refused(lease, tids, blocked=True))
            return
        self.queue.extend([_Queued(task, submitter, lease) for task in message.tasks])

    def _on_calls(self, caller: Address, message: tasks.Calls) -> None:
        if self.actor is not None:
            self.actor.enqueue(caller, message.calls)

    def _on_recall(self, submitter: Address, message: tasks.Recall) -> None:
        back: list[ObjectId] = []
        while len(back) < message.count and self.queue:
            try:
                item = self.queue.pop()
            except IndexError:
                break
            back.append(item.task.tid)
        back.reverse()
        self.transport.send(submitter, tasks.Refused(message.lease, back))

    def _on_revoke(self, _: Address, message: leases.Revoke) -> None:
        self._revoked = max(self._revoked, message.lease)
        unstarted = self._unstarted()
        if self._holder:
            unstarted.setdefault(self._holder, [])  # also told of a lease that idles
        for submitter, items in unstarted.items():
            tids = [x.task.tid for x in items]
            self.transport.send(submitter, tasks.Refused(message.lease, tids, ended=True))
        self._revoke_after = message.lease
        if not self.running_tid:
            self._end_lease()

    def _end_lease(self) -> None:
        lease, self._revoke_after = self._revoke_after, 0
        self.later(lambda: self._send_revoked(lease))
        self.handover.nudge()

    def _send_revoked(self, lease: int) -> None:
        self.outbox.send()
        self.transport.send(self.raylet, leases.Revoked(lease))

    def _on_assign_job(self, _: Address, message: leases.AssignJob) -> None:
        self._job_environment.learn(message.job)

    def _on_exit_if_idle(self, _: Address, message: leases.ExitIfIdle) -> None:
        busy = self.queue or self.running_tid or self.actor is not None
        if busy or self.ownership.holds_others():
            self.transport.send(self.raylet, leases.StillNeeded())
        else:
            self.leaving = "idle"

    def answer(self, question: Any) -> list[Any]:
        """The rows a question asks for; the runs not reported yet among them."""
        if isinstance(question, cluster.TaskRuns):
            return [self.log.unreported(os.getpid(), self.me)]
        return super().answer(question)

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Generators whose items they took stop, and nobody claims what is in their results."""
        super().on_peers_gone(is_gone)
        for tid in [tid for tid, (owner, _) in self._kept.items() if is_gone(owner)]:
            del self._kept[tid]
        self.producers.on_owners_gone(is_gone)

    def on_shutdown(self, source: Address, message: leases.Shutdown) -> None:
        """The node ends: so does this process, at once."""
        super().on_shutdown(source, message)
        self._shut_down = True
        self.leaving = message.reason
        if self.running_tid or self.actor is not None:
            os._exit(0)

    def _on_adopted(self, _: Address, message: tasks.Adopted) -> None:
        for tid in message.tids:
            self._kept.pop(tid, None)

    def _on_cancel(self, source: Address, message: tasks.Cancel) -> None:
        tid = message.tid
        if message.recursive:
            for child in self.submitter.children_of(tid):
                self.submitter.cancel(child, False, True)
            for child in self.callers.children_of(tid):
                self.callers.cancel(child, True)
        if self.actor is not None:
            self.actor.cancel(source, tid)
            return
        if self.interrupt_if_running(tid):
            return
        for queued in list(self.queue):
            if queued.task.tid == tid:
                self.queue.remove(queued)
                result = tasks.Result(tid, tasks.CANCELLED, [b""])
                self.transport.send(source, tasks.Done([result]))

    def _on_construct(self, _: Address, message: actors.Construct) -> None:
        self.actor = ActorHost(self, message)

    def _on_end_actor(self, _: Address, message: actors.EndActor) -> None:
        if self.actor is not None:
            self.actor.end_when_done(message.reason)

    # -- waiting, cancelling ---------------------------------------------------------------------
    def wait_blocking(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait; after a millisecond the task's CPUs go to others until it is over."""
        if done():
            return True
        if inside.asked():
            return False
        lease = self._lease_that_waits()
        if lease is None:
            return self._wait(done, timeout)
        first = 0.001 if timeout is None else min(timeout, 0.001)
        if self._wait(done, first) or (timeout is not None and timeout <= first):
            return done()
        with self.lead():
            self._block(lease)
        try:
            return self._wait(done, None if timeout is None else timeout - first)
        finally:
            with self.lead():
                self._blocked = False
                self.transport.send(self.raylet, leases.Unblocked(lease))

    def _wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        self.wait_until(lambda: done() or inside.asked(), timeout)
        return done()

    def _lease_that_waits(self) -> int | None:
        if self.actor is not None:
            return self.actor.lease_if_holding()
        return self._grant.lease if self._is_main() and self.running_tid else None

    def _block(self, lease: int) -> None:
        self._blocked = True
        self.outbox.send()
        for submitter, items in self._unstarted().items():
            tids = [x.task.tid for x in items]
            self.transport.send(submitter, tasks.Refused(lease, tids, blocked=True))
        self.transport.send(self.raylet, leases.Blocked(lease))

    def cancel_signal(self) -> None:
        """In the main thread, from the signal's handler: cancel what runs, if it still is that."""
        if self._cancelled is not None and self._cancelled == self.running_tid:
            inside.interrupt()

    def interrupt_if_running(self, tid: ObjectId) -> bool:
        """Have the main thread interrupted if this is what it runs."""
        if self.running_tid != tid:
            return False
        self._cancelled = tid
        signal.pthread_kill(self._main_thread, signal.SIGURG)
        return True

    def is_cancelled(self, tid: ObjectId) -> bool:
        """Whether the task or call that runs was cancelled."""
        return self._cancelled == tid or (self.actor is not None and self.actor.is_cancelled(tid))

    def was_cancelled(self, tid: ObjectId) -> bool:
        """Whether an interrupt of this call came from a cancel; asks once."""
        if self._cancelled != tid:
            return False
        self._cancelled = None
        return True

    # -- definitions and jobs --------------------------------------------------------------------
    def _load(self, key: bytes) -> Any:
        blob = self._definitions[key]
        if type(blob) is bytes:
            self._definitions[key] = blob = serialization.deserialize(blob)
            make_nameable(blob)
        return blob

    def enter_job_of(self, grant: Grant) -> None:
        """Be what a lease or actor says (its job, GPUs, threads), once the job has been told."""
        self._grant = grant
        here = self._job_environment
        if not here.knows(grant.job):
            self.wait_until(lambda: here.knows(grant.job), JOB_TIMEOUT_S)
        here.enter(grant)
        job = here.job(grant.job)
        self.facts = msgspec.structs.replace(self.facts, job=job.number, namespace=job.namespace)

    def _is_main(self) -> bool:
        return threading.get_ident() == self._main_thread
