"""An actor in its worker: its construction, its instance, and running its calls.

Made by `worker` when its raylet says `Construct`.  `actor_calls` decides which call runs when; user
code is called here.  Synchronous actors run in the worker's main thread, others in the lanes that
`threads` provides.
"""

from __future__ import annotations

import inspect
import sys
from collections import deque
from typing import Any

from rayhpc.exceptions import ActorDiedError
from rayhpc.runtime.process.context import ActorExit, TaskContext, running
from rayhpc.runtime.process.inspection import queued_row
from rayhpc.runtime.process.interrupts import inside, outside
from rayhpc.runtime.values.errors import dump_system_error, format_remote, load_error
from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.actor_calls import ActorCalls, Item, Lanes
from rayhpc.runtime.worker.actor_methods import Methods
from rayhpc.runtime.worker.call_order import FirstReady, has_far
from rayhpc.runtime.worker.failure_notes import LEFT
from rayhpc.runtime.worker.parts import WorkerParts
from rayhpc.wire import limits
from rayhpc.wire.address import Address, ObjectId, constructor_task_of
from rayhpc.wire.messages import actors, tasks
from rayhpc.wire.messages.common import Grant
from rayhpc.wire.messages.task_runs import TaskEvent

# How long the first call may wait for its arguments before the others are considered.
PATIENCE_S = 0.001
# How many concurrent calls may have ended without a reply: a result is 100 KB at most.  With fewer
# an event loop full of short calls takes the lead all the time: 2 to 3 µs of CPU a call at 64.
ENDED_MAX = 256


class ActorHost:
    """The one actor of a worker.

    Args:
        worker: the worker.
        order: the raylet's order to become this actor.

    Attributes:
        spec: what the actor is.
        calls: which of its calls run.
        instance: the user's object; None until it is constructed.
        title: the heading of its lines if its class defines one; empty: its name is used.
    """

    def __init__(self, worker: WorkerParts, order: actors.Construct) -> None:
        self.order = order
        self.spec = spec = order.spec
        self.worker = worker
        self.instance: Any = None
        self.title = ""
        self.calls = ActorCalls(
            {"": spec.max_concurrency, **spec.groups},
            worker.process.core.store,
            worker.replies.send_cancelled,
            worker.process.core.windows.is_behind,
        )
        self._lease = order.lease
        self._grant = Grant(
            order.lease,
            spec.job,
            spec.holding,
            order.devices,
            spec.placing.strategy.group,
            spec.placing.strategy.bundle,
            spec.placing.environment,
        )
        self._methods = Methods(self)
        # The names of calls without a name of their own, by method.
        self._names: dict[str, str] = {}
        # What each call needs: looked up once.
        self._now = worker.process.core.now
        self._windows = worker.process.core.windows
        self._objects = worker.process.objects
        self._note_run = worker.log.note
        self._note_start = worker.slot.note_start
        self._title = worker.threads.title
        self._held: object = None
        self._ended: deque[tuple[Address, ObjectId, execution.Outcome | None]] = deque()

    # -- the leading thread ----------------------------------------------------------------------
    def lease_if_holding(self) -> int | None:
        """The lease whose CPUs a waiting call gives back; None: it holds none."""
        # Until it is constructed it holds the resources it was placed with.
        holds = not self.calls.is_constructed or self.spec.holding.get("CPU")
        return self._lease if holds else None

    def queued(self, limit: int) -> list[TaskEvent]:
        """The calls that have not started, up to a limit (leading thread)."""
        spec = self.spec
        return [
            queued_row(item.call, self.name_of(item.call), spec.actor, spec.job)
            for item in self.calls.queued()[:limit]
            if item.call.more is None or not item.call.more.unlisted
        ]

    def reply_to_ended(self) -> None:
        """Reply to the concurrent calls that have ended (leading thread)."""
        while self._ended:
            caller, tid, outcome = self._ended.popleft()
            self.calls.ended(tid)
            if outcome is not None:
                self.worker.replies.add(caller, outcome)

    def release_held(self) -> None:
        """Start the calls of callers that are reading their replies again (leading thread)."""
        if self.calls.held.by_caller:
            self.calls.release_held()

    # -- the main thread -------------------------------------------------------------------------
    def run_next(self) -> None:
        """Construct, run one call, or leave."""
        calls, worker = self.calls, self.worker
        if not calls.is_constructed:
            self._construct()
        elif calls.waiting:
            item = self._take()
            if item is None:
                return
            name = self.name_of(item.call)
            if name != self._title.name:
                self._title.run(name)
            outcome = self.run(item, name)
            calls.ended(item.call.tid)
            more = bool(calls.waiting)
            if outcome is not None:
                worker.replies.add(item.caller, outcome)
                if not more or worker.replies.outbox.is_old():
                    worker.replies.flush()
            if self._held is not None and not more:
                self._held = None
        elif calls.may_leave():
            assert calls.ending is not None
            worker.leave(calls.ending)

    def shut_down(self) -> None:
        """The process exits normally: let the class clean up (as in Ray).

        Not called when it is killed, nor when the cluster ends.
        """
        last_words = getattr(self.instance, "__ray_shutdown__", None)
        if not callable(last_words):
            return
        spec = self.spec
        name = f"{spec.class_name}.__ray_shutdown__"
        running.set(self._context(constructor_task_of(spec.actor), name))
        try:
            last_words()
        except BaseException as failure:
            print(format_remote(failure), file=sys.stderr)

    def _take(self) -> Item | None:
        """The call to run next, now counted as started."""
        calls = self.calls
        if self._windows.waiting_bytes > limits.AHEAD_BYTES or calls.held.by_caller:
            with self.worker.process.loop.lead():
                calls.hold_back_waiting()
        first = calls.waiting[0] if calls.waiting else None
        if first is None or not first.call.deps or not has_far(first.call):
            return calls.take()
        return self._first_ready()

    def _first_ready(self) -> Item | None:
        """The call to run where the first one's arguments must come from a store."""
        process, calls = self.worker.process, self.calls
        first = FirstReady(process.core.store, calls.waiting, lambda item: item.call)
        with process.loop.lead():
            process.core.ownership.settle()
            found = self._started(first.look(everywhere=False))
        if found is None and process.objects.wait(first.has_news, PATIENCE_S):
            with process.loop.lead():
                found = self._started(first.take_first())
        while found is None and calls.waiting:
            with process.loop.lead():
                found = self._started(first.look(everywhere=True))
            if found is None:
                process.objects.wait(first.has_news)
        with process.loop.lead():
            first.close()
        # Arguments that several calls in a row share are fetched once.
        self._held = first if found is not None else None
        return found

    def _started(self, item: Item | None) -> Item | None:
        if item is not None:
            self.calls.started(item)
        return item

    # -- construction ----------------------------------------------------------------------------
    def _construct(self) -> None:
        worker, spec = self.worker, self.spec
        process = worker.process
        name = f"{spec.class_name}.__init__"
        running.set(self._context(constructor_task_of(spec.actor), name))
        worker.threads.title.belong_to(spec.class_name)
        error = b""
        lanes: Lanes | None = None
        try:
            worker.enter_job_of(self._grant)
            views = execution.fetched(process.objects, spec.deps, worker.wait_for_arguments)
            self._grant = worker.queue.grant  # it may have got other devices meanwhile
            running.set(self._context(constructor_task_of(spec.actor), name))
            cls = worker.definitions.load(spec.definition)
            _name(cls)
            more = tasks.TaskMore(packed=int(spec.packed))
            task = tasks.Task(spec.actor, b"", spec.args, tuple(spec.deps), more=more)
            args, kwargs = execution.arguments(process.objects, task, views)
            views = {}
            lanes = worker.threads.lanes(self)
            make = cls if lanes is None else lanes.constructor(cls)
            worker.threads.title.run(f"{spec.class_name}.__init__")
            with outside:
                self.instance = make(*args, **kwargs)
            worker.threads.title.rest()
            args = kwargs = None  # type: ignore[assignment]
            self.title = _own_title(self.instance)
        except ActorExit as leaving:
            worker.leave(str(leaving))
            return
        except BaseException as failure:
            error = self._creation_error(failure)
        with process.loop.lead():
            process.core.ownership.settle()
            constructed = actors.Constructed(spec.actor, error, self.title)
            if error:  # keep no reference to its arguments
                process.core.send_now(process.core.raylet, constructed)
            else:
                process.core.ownership.after_borrows(process.core.raylet, constructed)
            self.calls.constructed(lanes)
        if error:
            worker.leave("its constructor failed", code=1)

    def _creation_error(self, failure: BaseException) -> bytes:
        if isinstance(failure, execution.ArgumentError):
            text = f"an argument could not be had:\n{load_error(failure.error)}"
        else:
            text = format_remote(failure)
        return dump_system_error(
            ActorDiedError(
                "The actor died because of an error raised in its creation task, "
                f"{self.spec.class_name}.__init__():\n{text}",
                self.spec.actor.hex(),
                actor_init_failed=True,
            )
        )

    # -- calls -----------------------------------------------------------------------------------
    def run(self, item: Item, name: str = "") -> execution.Outcome | None:
        """Run a call in the calling thread; None: the call ends the actor.

        `name`: its name in logs and errors, if the caller has looked it up already.
        """
        call, now, spec = item.call, self._now, self.spec
        name = name or self.name_of(call)
        error_kind = LEFT
        start = now()
        # `_context` inlined, as in `run_async`.
        context = TaskContext(
            call.tid, name, self._grant, call.attempt, spec.actor, spec.capture_group
        )
        token = running.set(context)
        self._note_start(call.tid)
        thread = inside.thread
        try:
            if call.args or call.deps:
                args, kwargs = execution.arguments(self._objects, call, item.views)
                start = now()
            else:
                args, kwargs = execution.NO_ARGUMENTS
            method = context.function = self._methods.get(call.method)
            # `with outside`, inlined: this is part of every call.
            thread.depth = 0
            try:
                value = method(*args, **kwargs)
            finally:
                thread.depth = 1
            if call.returns in tasks.GENERATORS:
                outcome = self.worker.producers.run(item.caller, call, value, start)
            else:
                micros = int((now() - start) * 1e6)
                args = kwargs = None  # type: ignore[assignment]
                outcome = execution.succeeded(self._objects, call, value, micros)
            error_kind = ""
            # It could not be interrupted, and nobody waits for its outcome.
            if self.calls.has_cancelled and self.calls.is_cancelled(call.tid):
                return execution.cancelled(call)
            return outcome
        except Exception as error:
            error_kind = self.worker.log.failures.note(error)
            if self.calls.is_cancelled(call.tid):
                return execution.cancelled(call)
            return self.failure(call, error, name, start)
        except BaseException as error:
            self.leave_by(error, name)
            return None
        finally:
            running.reset(token)
            self._note_run(call, name, start, now() - start, spec.job, spec.actor, error_kind)

    async def run_async(self, item: Item) -> execution.Outcome | None:
        """Run a call in an event loop; None: the call ends the actor.

        Raises:
            asyncio.CancelledError: it was cancelled.
        """
        import asyncio

        worker, call, now, spec = self.worker, item.call, self._now, self.spec
        name = self.name_of(call)
        context = TaskContext(
            call.tid, name, self._grant, call.attempt, spec.actor, spec.capture_group
        )
        running.set(context)
        error_kind = LEFT
        start = now()
        try:
            args, kwargs = execution.arguments(self._objects, call, item.views)
            method = context.function = self._methods.get(call.method)
            value = method(*args, **kwargs)
            # Any other awaitable (an ObjectRef, a future) is the method's return value.
            if inspect.iscoroutine(value):
                value = await value
            if call.returns in tasks.GENERATORS:
                if hasattr(value, "__aiter__"):
                    produced = worker.producers.run_async(item.caller, call, value, start)
                else:
                    run = worker.producers.run
                    produced = asyncio.to_thread(run, item.caller, call, value, start)
                outcome = await produced
            else:
                micros = int((now() - start) * 1e6)
                args = kwargs = None  # type: ignore[assignment]
                outcome = execution.succeeded(self._objects, call, value, micros)
            error_kind = ""
            return outcome
        except asyncio.CancelledError:
            raise
        except Exception as error:
            error_kind = worker.log.failures.note(error)
            return self.failure(call, error, name, start)
        except BaseException as error:
            self.leave_by(error, name)
            return None
        finally:
            self._note_run(call, name, start, now() - start, spec.job, spec.actor, error_kind)

    def hold_back(self, item: Item) -> bool:
        """Whether a call must not start yet, since its caller does not read its replies."""
        if self._windows.waiting_bytes <= limits.AHEAD_BYTES and not self.calls.held.by_caller:
            return False
        with self.worker.process.loop.lead():
            return self.calls.hold_back(item)

    def end_call(self, caller: Address, tid: ObjectId, outcome: execution.Outcome | None) -> None:
        """A concurrent call has ended, with or without something to reply (any thread).

        When many end together only the first wakes the leader, which then finds the others.  If
        the leader does not keep up, the replies are not left to it.
        """
        loop = self.worker.process.loop
        self._ended.append((caller, tid, outcome))
        if len(self._ended) == 1:
            loop.handover.wake_waiters()
        elif len(self._ended) > ENDED_MAX:
            with loop.lead():
                self.reply_to_ended()

    def terminate(self) -> None:
        """`__ray_terminate__`: end normally.

        Raises:
            ActorExit: always.
        """
        raise ActorExit("it was told to terminate")

    def _context(self, tid: ObjectId, name: str) -> TaskContext:
        spec = self.spec
        return TaskContext(tid, name, self._grant, 0, spec.actor, spec.capture_group)

    def name_of(self, call: tasks.Call) -> str:
        """A call's name in logs and errors."""
        if call.more is not None and call.more.name:
            return call.more.name
        name = self._names.get(call.method)
        if name is None:
            name = self._names[call.method] = f"{self.spec.class_name}.{call.method}"
        return name

    def failure(
        self, call: tasks.Call, error: BaseException, name: str, start: float
    ) -> execution.Outcome:
        """The outcome of a call that raised."""
        core = self.worker.process.core
        micros = int((core.now() - start) * 1e6)
        return execution.failed(call, error, name, core.facts.node_ip, self._shown(), micros)

    def interrupted(self, call: tasks.Call, error: BaseException) -> execution.Outcome:
        """The outcome of a call that was cancelled while it ran."""
        ip = self.worker.process.core.facts.node_ip
        return execution.interrupted(call, error, self.name_of(call), ip, self._shown(), 0)

    def _shown(self) -> str:
        """How the instance shows itself."""
        try:
            with outside:
                return repr(self.instance)
        except Exception:
            return f"<{self.spec.class_name}>"

    def leave_by(self, error: BaseException, name: str) -> None:
        """A call has ended the actor: by `exit_actor`, or an exception that is not an Exception."""
        process = self.worker.process
        with process.loop.lead():
            self.calls.stop()
        if isinstance(error, ActorExit):
            self.worker.leave(str(error))
        else:
            self.worker.leave(f"{name} raised {type(error).__name__}: {error}", code=1)


def _name(cls: type[Any]) -> None:
    """Let the actor's code find its class, as in Ray."""
    if "__ray_actor_class__" not in vars(cls):
        try:
            cls.__ray_actor_class__ = cls
        except TypeError:  # a class written in C takes no attributes
            pass


def _own_title(instance: Any) -> str:
    """What the user's `__repr__` returns, if there is one, in one line."""
    if getattr(type(instance), "__repr__", None) is object.__repr__:
        return ""
    try:
        with outside:
            return " ".join(repr(instance).split())[:100]
    except Exception:  # it may need what only later calls provide
        return ""
