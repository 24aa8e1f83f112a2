"""The submitter: leases workers and keeps them busy; finds out which tasks a dead worker had begun.

A state machine driven by the leading thread (`process.py`) and by the simulation: messages in,
messages out through `send`, time through `now`.  Other threads only append to `inbox`.  The
messages and what each death means: `docs/explanation/protocol.md`.  Actors' calls: `calls.py`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

import msgspec

from rayhpc.runtime.owner import dependencies, failures
from rayhpc.runtime.owner.backlog_reports import BacklogReports
from rayhpc.runtime.owner.broken_leases import begun_of, lacks_items
from rayhpc.runtime.owner.class_queue import ClassQueue, Lease
from rayhpc.runtime.owner.definitions import Definitions
from rayhpc.runtime.owner.lease_requests import LeaseRequests
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.results import Results
from rayhpc.runtime.owner.retry_pauses import RetryPauses
from rayhpc.wire import limits
from rayhpc.wire.address import Address, ObjectId, node_of, owner_of, raylet_of
from rayhpc.wire.messages import leases, tasks
from rayhpc.wire.messages.common import SchedulingClass

Send = Callable[[Address, msgspec.Struct], None]
_decode_result = msgspec.msgpack.Decoder(tasks.Result).decode


class Submitter:
    """Everything one process has submitted as tasks.

    Args:
        me: this process's address.
        ownership: its reference table.
        results: takes in results and failures.
        send: puts a message on its way.
        now: the time in seconds, monotonic.
        warn: tells the user something once (a demand that no node can meet).
    """

    def __init__(
        self,
        me: Address,
        ownership: Ownership,
        results: Results,
        send: Send,
        now: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self.me = me
        self.inbox: deque[Pending] = deque()
        self._ownership = ownership
        self._results = results
        self._send = send
        self._now = now
        # A class that is no longer used is dropped: a program may create one per task.
        self._queues: WeakValueDictionary[bytes, ClassQueue[Pending]] = WeakValueDictionary()
        self._making_queue = threading.Lock()
        # The newest last.  A worker may be leased to us again before the last results of an earlier
        # lease have arrived, which take another path.
        self._by_worker: dict[Address, list[Lease[Pending]]] = {}
        self._dirty: dict[ClassQueue[Pending], None] = {}
        # Those that wait for results of our own among their arguments.
        self._waiting: set[Pending] = set()
        self._requests = LeaseRequests(me, send, self._look_at, warn)
        self.on_redirect, self.on_queued = self._requests.on_redirect, self._requests.on_queued
        self._pauses = RetryPauses(now)
        self._backlogs = BacklogReports(raylet_of(node_of(me)), send, now)
        self.definitions = Definitions(send)
        # When each queue must be looked at even without an event, as of the last look.
        self._due: dict[ClassQueue[Pending], float] = {}

    def queue_for(self, wanted: SchedulingClass) -> ClassQueue[Pending]:
        """The queue of a scheduling class; may be called by any thread."""
        key = msgspec.msgpack.encode(wanted)
        with self._making_queue:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = ClassQueue(wanted)
        return queue

    # -- the leading thread ----------------------------------------------------------------------
    def advance(self) -> None:
        """Take in submitted tasks, push what can be pushed, request the leases that are missing."""
        inbox = self.inbox
        while inbox:
            pending = inbox.popleft()
            self._results.enter(pending)
            if pending.deps:
                self._wait_for_arguments(pending)
            else:
                self._enqueue(pending)
        while self._dirty:
            queue, _ = self._dirty.popitem()
            self._schedule(queue)
        self.definitions.settle()

    def on_time(self) -> None:
        """Look at every queue whose deadline has come, and end the pauses that are over."""
        now = self._now()
        self._pauses.on_time()
        for queue in [queue for queue, due in self._due.items() if due <= now]:
            self._schedule(queue)
        if self._backlogs.due is not None and self._backlogs.due <= now:
            self._backlogs.report()

    def deadline(self) -> float | None:
        """When `on_time` wants to be called; None: not before something happens."""
        found = self._pauses.deadline(self._due.values())
        report = self._backlogs.due
        if report is None or (found is not None and found < report):
            return found
        return report

    def has_news(self) -> bool:
        """Whether `advance` has something to do."""
        return bool(self.inbox or self._dirty or self.definitions.gone)

    def make_again(self, oid: ObjectId, pending: Pending) -> bytes | None:
        """Run the task of a lost object again; the error if it has no retries left."""
        assert pending.queue is not None
        waits = pending in pending.queue.ready or self._pauses.has(pending)
        if pending.lease is not None or pending.missing or waits:
            return None
        if pending.retries == 0:
            return failures.out_of_retries(oid, pending)
        pending.cancelled = False  # The cancellation came too late.
        pending.leftover = True
        self._again(pending, at_front=False)
        return None

    def give_back_idle(self) -> None:
        """Return the leases that have nothing to run: their workers then end normally."""
        for lease in [x for found in self._by_worker.values() for x in found if not x.inflight]:
            self._drop_lease(lease)
            self._give_back(lease.worker, lease.grant.lease)

    def cancel(self, pending: Pending, force: bool, recursive: bool) -> None:
        """Cancel a task wherever it is; its results become TaskCancelledError."""
        if pending.cancelled:
            return
        pending.cancelled = True
        lease = pending.lease
        pending.leftover = lease is not None
        if lease is None:
            self._pauses.forget(pending)
            self._results.fail(pending, failures.cancelled(pending))
            if pending.queue is not None:  # what was requested for it may be needed no longer
                pending.queue.has_cancelled = True
                self._dirty[pending.queue] = None
        else:
            # It may be queued behind others there, which must not end with it: the raylet checks.
            if force:
                raylet = raylet_of(node_of(lease.worker))
                order = leases.LeaseReturn(lease.grant.lease, kill=True, task=pending.tid)
                self._send(raylet, order)
            self._send(lease.worker, tasks.Cancel(pending.tid, recursive))

    def children_of(self, tid: ObjectId) -> list[Pending]:
        """The unfinished tasks that task `tid` submitted from this process."""
        return [p for p in self.unfinished() if p.parent == tid]

    def unfinished(self) -> Iterable[Pending]:
        """Every task that waits or runs."""
        for queue in list(self._queues.values()):
            yield from list(queue.ready)
        for lease in self._all_leases():
            yield from list(lease.inflight.values())
        yield from [pending for pending in self._waiting if not pending.cancelled]
        yield from self._pauses.waiting()

    def pending_reasons(self) -> list[str]:
        """Why lease requests wait, in the raylets' words."""
        return [text for q in list(self._queues.values()) for text in q.queued.values() if text]

    # -- messages: leases ------------------------------------------------------------------------
    def on_granted(self, message: leases.LeaseGranted) -> None:
        """A lease was granted."""
        queue = self._requests.take(message.request)
        if queue is None:
            self._give_back(message.worker, message.grant.lease)
            return
        lease = Lease(message.worker, message.grant, queue, self._now())
        queue.leases[message.grant.lease * 2**32 + node_of(message.worker)] = lease
        for earlier in list(self._by_worker.get(message.worker, ())):
            earlier.ended = True
            if not earlier.inflight:
                self._drop_lease(earlier)
        self._by_worker.setdefault(message.worker, []).append(lease)
        self._dirty[queue] = None

    def on_refused_lease(self, message: leases.LeaseRefused) -> None:
        """No worker will ever be granted for this class, or (out of service) not by that node."""
        queue = self._requests.take(message.request)
        if queue is None:
            return
        if message.kind == leases.OUT_OF_SERVICE:
            self._dirty[queue] = None
            return
        self._dirty[queue] = None
        error = failures.refused(message.kind, message.text)
        while queue.ready:
            self._results.fail(queue.ready.popleft(), error)

    def on_broken(self, message: leases.LeaseBroken) -> None:
        """The worker is dead: take the results it left, then fail the task it had started."""
        if message.worker not in self._by_worker:
            return
        # Looked up first: the last result may be there although earlier ones were lost.
        begun = begun_of(self._by_worker[message.worker], message)
        # Results for the worker's previous submitter may be among them.
        unsent = [r for x in message.unsent if owner_of((r := _decode_result(x)).tid) == self.me]
        # Items are not in the journal: a generator that lacks some must run again.
        cut_short = {r.tid for r in unsent if lacks_items(self._by_worker[message.worker], r)}
        begun |= cut_short
        whole = [r for r in unsent if r.tid not in cut_short]
        self._results.discard(message.worker, self.on_done(message.worker, whole))
        for lease in list(self._by_worker.get(message.worker, ())):
            self._drop_lease(lease)
            self._victims(lease, begun, message.reason, message.memory)

    def on_node_gone(self, node: int, reason: str) -> None:
        """Every lease and request there is void; what was pushed may have started."""
        for lease in [x for x in self._all_leases() if node_of(x.worker) == node]:
            self._drop_lease(lease)
            self._victims(lease, set(lease.inflight), reason, memory=False, node_died=True)
        self._requests.on_node_gone(node)

    # -- messages: tasks -------------------------------------------------------------------------
    def on_done(self, worker: Address, results: list[tasks.Result]) -> list[tasks.Result]:
        """Take in results; returns those that belong to none of our leases (perhaps an actor's)."""
        ours = self._by_worker.get(worker)
        for lease in list(ours or ()):
            results = self._take_results(lease, results)
        return results

    def _take_results(
        self, lease: Lease[Pending], results: list[tasks.Result]
    ) -> list[tasks.Result]:
        """Take the results that belong to this lease; return the others."""
        inflight = lease.inflight
        micros = count = 0
        left: list[tasks.Result] = []
        for result in results:
            pending = inflight.pop(result.tid, None)
            if pending is None:
                left.append(result)
                continue
            count += 1
            micros += result.micros
            lease.bytes -= pending.size  # `lease.remove` written out: a part of every task
            pending.lease = None
            if not self._results.take(lease.worker, pending, result):
                self._pauses.begin(pending, self._repeat)
        if not count:
            return left
        queue = lease.queue
        queue.observe(micros * 1e-6, count)
        now = self._now()
        lease.progress = now
        if not inflight:
            lease.idle_since = now
            lease.blocked = lease.recalling = False
            if lease.ended:
                self._drop_lease(lease)
        self._dirty[queue] = None
        return left

    def on_refused_tasks(self, worker: Address, message: tasks.Refused) -> None:
        """Tasks that did not start come back for other leases; this uses up no retry."""
        lease = self._lease(worker, message.lease)
        if lease is None:
            return
        lease.recalling = False
        # Otherwise a worker with nothing to give back would be asked again and again.
        lease.progress = self._now()
        lease.blocked = lease.blocked or message.blocked
        lease.ended = lease.ended or message.ended
        back = [p for tid in message.tids if (p := lease.remove(tid)) is not None]
        for pending in reversed(back):
            self._requeue(pending)
        if lease.ended and not lease.inflight:
            self._drop_lease(lease)
        self._dirty[lease.queue] = None

    # -- details ---------------------------------------------------------------------------------
    def _look_at(self, queue: ClassQueue[Pending]) -> None:
        self._dirty[queue] = None

    def _all_leases(self) -> list[Lease[Pending]]:
        return [lease for ours in list(self._by_worker.values()) for lease in ours]

    def _lease(self, worker: Address, number: int) -> Lease[Pending] | None:
        """The lease with that number on a worker, if we still hold it."""
        ours = self._by_worker.get(worker, ())
        return next((x for x in ours if x.grant.lease == number), None)

    def _wait_for_arguments(self, pending: Pending) -> None:
        dependencies.when_ready(self._ownership, pending, self._deps_ready)
        if pending.missing:
            self._waiting.add(pending)

    def _deps_ready(self, pending: Pending) -> None:
        self._waiting.discard(pending)
        if pending.cancelled:
            return
        found, error = dependencies.resolved(self._ownership, pending)
        if error is not None:
            self._results.fail(pending, error)
            return
        pending.ready = tuple(found)
        self._go_near(pending)
        self._enqueue(pending)

    def _go_near(self, pending: Pending) -> None:
        """Have a task run where most bytes of its arguments are, if its options allow that."""
        queue = pending.queue
        assert queue is not None
        near = dependencies.node_with_most(self._ownership, pending)
        if near != queue.wanted.near and queue.wanted.strategy.kind == "default":
            pending.queue = self.queue_for(msgspec.structs.replace(queue.wanted, near=near))

    def _enqueue(self, pending: Pending) -> None:
        queue = pending.queue
        assert queue is not None
        queue.ready.append(pending)
        self._dirty[queue] = None

    def _requeue(self, pending: Pending) -> None:
        if pending.cancelled:
            self._results.fail(pending, failures.cancelled(pending))
            return
        assert pending.queue is not None
        pending.queue.ready.appendleft(pending)

    def _repeat(self, pending: Pending) -> None:
        self._again(pending, at_front=False, counts=False)

    def _again(self, pending: Pending, at_front: bool, counts: bool = True) -> None:
        """Run a task again; its dependencies may have moved, so they are looked up again.

        `counts`: it is a retry after a failure of the system.
        """
        if counts and pending.retries > 0:
            pending.retries -= 1
        self._results.begin_again(pending)
        assert pending.queue is not None
        if pending.deps:
            self._wait_for_arguments(pending)
        elif at_front:
            pending.queue.ready.appendleft(pending)
        else:
            pending.queue.ready.append(pending)
        self._dirty[pending.queue] = None

    def _schedule(self, queue: ClassQueue[Pending]) -> None:
        now = self._now()
        if queue.ready:
            for lease, batch in queue.plan_pushes(now):
                self._push(lease, batch, now)
        if queue.ready:
            for _ in range(queue.requests_wanted()):
                self._requests.ask(queue, now)
        else:
            self._let_go_of_spare(queue, now)
        if queue.queued or queue.reported[0]:
            self._backlogs.note(queue)
        queue.gather = queue.patience()
        due = queue.deadline()
        if due is not None:
            self._due[queue] = due
        else:
            self._due.pop(queue, None)

    def _let_go_of_spare(self, queue: ClassQueue[Pending], now: float) -> None:
        """Nothing waits: recall tasks that are queued behind others, return idle leases."""
        for lease in queue.stuck(now):
            lease.recalling = True
            self._send(lease.worker, tasks.Recall(lease.grant.lease, len(lease.inflight) - 1))
        for lease in queue.idle(now):
            self._drop_lease(lease)
            self._give_back(lease.worker, lease.grant.lease)
        if queue.queued:
            self._requests.cancel_queued(queue)

    def _push(self, lease: Lease[Pending], batch: list[Pending], now: float) -> None:
        sent = self.definitions.sent_to(lease.worker)
        inflight = lease.inflight
        if not inflight:
            lease.progress = now
        new: dict[bytes, bytes] = {}
        out: list[tasks.Task] = []
        total = 0
        for pending in batch:
            definition = pending.definition
            size = pending.size + limits.OVERHEAD_BYTES
            assert definition is not None
            is_new = definition.id not in sent
            if is_new:
                size += len(definition.blob)
            if total + size > limits.BATCH_BYTES and out:
                self._send_push(lease, out, new)
                out, new, total = [], {}, 0
            if is_new:
                sent.add(definition.id)
                new[definition.id] = definition.blob
            total += size
            pending.lease = lease
            inflight[pending.tid] = pending
            lease.bytes += pending.size
            out.append(
                tasks.Task(
                    pending.tid,
                    definition.id,
                    pending.args,
                    pending.ready,
                    pending.returns,
                    pending.attempt,
                    pending.more,
                    pending.submitted,
                )
            )
        self._send_push(lease, out, new)

    def _send_push(
        self, lease: Lease[Pending], out: list[tasks.Task], new: dict[bytes, bytes]
    ) -> None:
        grant = None if lease.granted_known else lease.grant
        lease.granted_known = True
        try:
            self._send(lease.worker, tasks.Push(lease.grant.lease, out, new, grant))
        except (ValueError, TypeError, OverflowError) as error:
            # `remote()` should have refused it; these would never be answered.
            lease.granted_known = grant is None
            self.definitions.sent_to(lease.worker).difference_update(new)
            for task in out:
                pending = lease.remove(task.tid)
                if pending is not None:
                    self._results.fail(pending, failures.not_sent(pending, error))

    def _give_back(self, worker: Address, lease: int) -> None:
        self._send(raylet_of(node_of(worker)), leases.LeaseReturn(lease))

    def _drop_lease(self, lease: Lease[Pending]) -> None:
        key = lease.grant.lease * 2**32 + node_of(lease.worker)
        lease.queue.leases.pop(key, None)
        ours = self._by_worker.get(lease.worker, [])
        if lease in ours:
            ours.remove(lease)
            if not ours:
                del self._by_worker[lease.worker]
        self._dirty[lease.queue] = None

    def _victims(
        self,
        lease: Lease[Pending],
        begun: set[ObjectId],
        reason: str,
        memory: bool,
        node_died: bool = False,
    ) -> None:
        """Sort a dead worker's tasks: those of `begun` have failed, the rest never started."""
        self.definitions.forget_worker(lease.worker)
        inflight = lease.clear()
        for pending in reversed([p for p in inflight if p.tid not in begun]):
            self._requeue(pending)
        for pending in [p for p in inflight if p.tid in begun]:
            pending.leftover = True
            if pending.cancelled:
                self._results.fail(pending, failures.cancelled(pending))
            elif pending.retries != 0:
                self._again(pending, at_front=True)
            else:
                error = failures.worker_died(pending, reason, memory, node_died)
                self._results.fail(pending, error, worker=lease.worker)
