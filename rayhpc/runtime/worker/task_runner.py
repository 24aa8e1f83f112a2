"""Runs the tasks of a lease in a worker's main thread, one after another.

Used by `worker`.  `lease_queue` decides what to run, `replies` handles the results.
"""

from __future__ import annotations

from rayhpc.runtime.process.context import TaskContext, running
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.argument_wait import LeaseLostError
from rayhpc.runtime.worker.failure_notes import LEFT
from rayhpc.runtime.worker.lease_queue import Queued
from rayhpc.runtime.worker.outbox import REPLY_WITHIN_S
from rayhpc.runtime.worker.parts import WorkerParts
from rayhpc.wire import limits
from rayhpc.wire.messages import tasks
from rayhpc.wire.messages.common import Grant


class TaskRunner:
    """Runs tasks.

    Args:
        worker: the worker whose tasks they are.
    """

    def __init__(self, worker: WorkerParts) -> None:
        self._worker = worker
        self._process = worker.process
        self._queue = worker.queue
        self._now = worker.process.core.now
        self._windows = worker.process.core.windows
        # What each task needs: looked up once.
        self._loaded = worker.definitions.loaded
        self._title = worker.threads.title
        self._outbox = worker.replies.outbox
        self._grant: Grant | None = None
        self._calls_made: dict[bytes, int] = {}
        # How long the last task took.
        self._seconds = 1.0

    def run_next(self) -> None:
        """Run the first waiting task, unless it has been recalled at this very moment."""
        worker = self._worker
        if self._windows.waiting_bytes > limits.AHEAD_BYTES:
            self._wait_for_room()
        outbox, queue = self._outbox, self._queue
        if outbox and (self._seconds > REPLY_WITHIN_S or outbox.is_old()):
            worker.replies.flush()
        if queue.cancelled:
            worker.threads.forget_interrupt()
        item = queue.take()
        if item is None:
            return
        task = item.task
        worker.slot.note_start(task.tid)
        outcome = self._run(task, item)
        if outcome is not None:
            worker.replies.add(item.submitter, outcome)
        # Not earlier: an answer may be sent at once, and the lease end after it.
        queue.ended()
        if task.more is not None and task.more.max_calls:
            self._count_call(task, task.more.max_calls)

    def _wait_for_room(self) -> None:
        """Wait for room: the receivers of our results may not be reading them."""
        windows, waiting = self._windows, self._queue.waiting
        self._process.loop.wait_until(
            lambda: windows.waiting_bytes <= limits.AHEAD_BYTES or not waiting
        )

    def _run(self, task: tasks.Task, item: Queued) -> execution.Outcome | None:
        worker, process, now = self._worker, self._process, self._now
        more = task.more
        name = more.name if more is not None else ""
        error_kind = LEFT
        start = now()
        token = None
        thread = inside.thread
        try:
            grant = self._queue.grant
            if grant is not self._grant:
                worker.enter_job_of(grant)
                self._grant = grant
            function = self._loaded(task.definition) or worker.definitions.get(task.definition)
            name = name or function.__name__
            if name != self._title.name:
                self._title.run(name)
            capture = more is not None and more.capture_group
            context = TaskContext(task.tid, name, grant, task.attempt, b"", capture)
            context.function = function
            token = running.set(context)
            if task.args or task.deps:
                wait = worker.wait_for_arguments
                args, kwargs = execution.arguments(process.objects, task, None, wait)
                start = now()
                context.grant = self._queue.grant  # it may have got other devices meanwhile
            else:
                args, kwargs = execution.NO_ARGUMENTS
            # `with outside`, inlined: this is part of every task.
            thread.depth = 0
            try:
                if inside.pending:
                    inside.raise_if_left()
                value = function(*args, **kwargs)
            finally:
                thread.depth = 1
            if task.returns in tasks.GENERATORS:
                outcome = worker.producers.run(item.submitter, task, value, start)
                error_kind = ""
                return outcome
            micros = int((now() - start) * 1e6)
            args = kwargs = None  # type: ignore[assignment]
            outcome = execution.succeeded(process.objects, task, value, micros)
            error_kind = ""
            return outcome
        except LeaseLostError:
            with process.loop.lead():
                self._queue.hand_back(item)
            return None
        except SystemExit as error:
            self._leave_by_exit(error, name)
            return None
        except BaseException as error:
            thread.depth = 1  # an interrupt may have come just before or after user code
            error_kind = worker.log.failures.note(error)
            return self._failure(task, error, name, int((now() - start) * 1e6))
        finally:
            if token is not None:
                running.reset(token)
            self._seconds = now() - start
            job = process.core.facts.job
            worker.log.note(task, name, start, self._seconds, job, b"", error_kind)

    def _failure(
        self, task: tasks.Task, error: BaseException, name: str, micros: int
    ) -> execution.Outcome:
        # An interrupted wait inside the runtime ends in an error of its own.
        interrupted = isinstance(error, KeyboardInterrupt) or self._worker.threads.asked()
        is_cancelled = interrupted and self._queue.is_cancelled(task.tid)
        outcome_of = execution.interrupted if is_cancelled else execution.failed
        return outcome_of(task, error, name, self._process.core.facts.node_ip, None, micros)

    def _leave_by_exit(self, error: SystemExit, name: str) -> None:
        code = error.code if isinstance(error.code, int) else 1
        self._worker.leave(f"task {name!r} called sys.exit({error.code!r})", code or 1)

    def _count_call(self, task: tasks.Task, most: int) -> None:
        made = self._calls_made[task.definition] = self._calls_made.get(task.definition, 0) + 1
        if made >= most:
            self._worker.leaving = "max_calls reached"
