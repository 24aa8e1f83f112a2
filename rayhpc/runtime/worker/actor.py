"""An actor in its worker: construction, and calls one by one, in threads, or on an event loop.

Made by `worker` when its raylet says `Construct`.  Synchronous actors run in the worker's main
thread; concurrency groups have each their own threads or their own limit on the loop.
"""

from __future__ import annotations

import concurrent.futures
import inspect
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rayhpc.exceptions import ActorDiedError
from rayhpc.runtime.process.context import TaskContext, running
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.errors import dump_system_error, format_remote, load_error
from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.call_order import FirstReady, has_far
from rayhpc.wire.address import Address, ObjectId, constructor_task_of
from rayhpc.wire.messages import actors, tasks
from rayhpc.wire.messages.common import Grant

if TYPE_CHECKING:
    import asyncio

    from rayhpc.runtime.worker.worker import Worker


# The first call may wait so long for its arguments before the others are looked at.
PATIENCE_S = 0.001


class ActorExit(SystemExit):
    """Raised by `exit_actor`: the actor ends in good order."""


class ActorHost:
    """The one actor of a worker.

    Args:
        worker: the process.
        message: the raylet's order to be this actor.
    """

    def __init__(self, worker: Worker, message: actors.Construct) -> None:
        self.spec = message.spec
        self.incarnation = message.incarnation
        self.instance: Any = None
        # How its lines are headed if its class says how it is shown; empty: by the class's name.
        self.title = ""
        self.ending: str | None = None
        self._worker = worker
        self._lease = message.lease
        self._grant = Grant(
            message.lease,
            self.spec.job,
            self.spec.holding,
            message.devices,
            self.spec.placing.strategy.group,
            self.spec.placing.strategy.bundle,
            self.spec.placing.environment,
        )
        self._queue: deque[tuple[Address, tasks.Call]] = deque()
        self._held: object = None
        self._constructed = False
        self._busy = 0
        self._ended: deque[tuple[Address, execution.Outcome | None]] = deque()
        self._pools: dict[str, concurrent.futures.ThreadPoolExecutor] = {}
        self._loop: AsyncSide | None = None
        # Concurrent calls that have not ended → whether they were cancelled.
        self._concurrent: dict[ObjectId, bool] = {}
        self._is_threaded = not self.spec.is_async and (
            self.spec.max_concurrency > 1 or bool(self.spec.groups)
        )

    # -- the leading thread ----------------------------------------------------------------------
    def enqueue(self, caller: Address, calls: list[tasks.Call]) -> None:
        """Calls have come; they run in this order, or beside each other."""
        if not self._constructed or not (self._is_threaded or self.spec.is_async):
            self._queue.extend([(caller, call) for call in calls])
            return
        self._busy += len(calls)
        self._concurrent.update((call.tid, False) for call in calls)
        if self._loop is not None:
            self._loop.start(caller, calls)
            return
        for call in calls:
            pool = self._pools.get(call.group) or self._pools[""]
            pool.submit(self._run_in_thread, caller, call)

    def cancel(self, caller: Address, tid: ObjectId) -> None:
        """Cancel a call: one that waits never runs, one that runs is interrupted."""
        for item in list(self._queue):
            if item[1].tid == tid:
                self._queue.remove(item)
                self._reply_cancelled(caller, tid)
                return
        if tid in self._concurrent:
            self._concurrent[tid] = True
        if self._loop is not None:
            self._loop.cancel(tid)
        elif not self._is_threaded:
            self._worker.interrupt_if_running(tid)

    def is_cancelled(self, tid: ObjectId) -> bool:
        """Whether a concurrent call that runs was cancelled."""
        return self._concurrent.get(tid, False)

    def end_when_done(self, reason: str) -> None:
        """Leave when the queued calls have run."""
        self.ending = reason

    def lease_if_holding(self) -> int | None:
        """The lease whose CPUs a waiting call gives back; None: it holds none."""
        # Until it is constructed it holds what it was placed with.
        holds = not self._constructed or self.spec.holding.get("CPU")
        return self._lease if holds else None

    def has_work(self) -> bool:
        """Whether the main thread has something to do."""
        idle = not self._queue and not self._busy
        return not self._constructed or bool(self._queue) or (self.ending is not None and idle)

    # -- the main thread -------------------------------------------------------------------------
    def run_next(self) -> None:
        """Construct, run one call, or leave."""
        if not self._constructed:
            self._construct()
        elif self._queue:
            caller, call = self._queue.popleft()
            if call.deps and has_far(call):
                self._queue.appendleft((caller, call))
                found = self._first_ready()
                if found is None:
                    return
                caller, call = found
            outcome = self._run(caller, call)
            if outcome is not None:
                self._worker.reply(caller, outcome)
                self._worker.flush_replies_if_due(more=bool(self._queue))
            if self._held is not None and not self._queue:
                self._held = None
        elif self.ending is not None and not self._busy:
            self._worker.leave(self.ending)

    def shut_down(self) -> None:
        """The process leaves in order: the class may have something to put away (as in Ray).

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

    def _first_ready(self) -> tuple[Address, tasks.Call] | None:
        """The call to run where the first one's arguments must come from a store."""
        worker = self._worker
        first = FirstReady(worker.store, self._queue, lambda item: item[1])
        with worker.lead():
            worker.ownership.settle()
            found = first.look(everywhere=False)
        if found is None and worker.wait_blocking(first.has_news, PATIENCE_S):
            found = first.take_first()
        if found is None:
            found = self._wait_for_any(first)
        # What several calls in a row are given is brought here once.
        self._held = first if found is not None else None
        return found

    def _wait_for_any(
        self, first: FirstReady[tuple[Address, tasks.Call]]
    ) -> tuple[Address, tasks.Call] | None:
        """The first call that may run and can; None: those that waited were cancelled."""
        worker = self._worker
        while True:
            with worker.lead():
                found = first.look(everywhere=True)
                if found is not None or not self._queue:
                    first.close()
                    return found
            worker.wait_blocking(first.has_news)

    def _construct(self) -> None:
        worker, spec = self._worker, self.spec
        name = f"{spec.class_name}.__init__"
        running.set(self._context(constructor_task_of(spec.actor), name))
        worker.title.belong_to(spec.class_name)
        error = b""
        try:
            worker.enter_job_of(self._grant)
            cls = serialization.deserialize(spec.definition)
            _name(cls)
            more = tasks.TaskMore(packed=spec.packed)
            task = tasks.Task(spec.actor, b"", spec.args, tuple(spec.deps), more=more)
            args, kwargs = execution.arguments(worker, task)
            self.instance = cls(*args, **kwargs)
            self.title = _own_title(self.instance)
            if spec.is_async:
                self._loop = AsyncSide(self, spec.max_concurrency, spec.groups)
            elif self._is_threaded:
                self._make_pools()
        except ActorExit as leaving:
            worker.leave(str(leaving))
            return
        except BaseException as failure:
            error = self._creation_error(failure)
        self._constructed = True
        with worker.lead():
            worker.ownership.settle()
            worker.ownership.after_borrows(worker.raylet, actors.Constructed(spec.actor, error))
            waiting, self._queue = self._queue, deque()
            for caller, call in waiting:
                self.enqueue(caller, [call])
        if error:
            worker.leave("its constructor failed", code=1)

    def _creation_error(self, failure: BaseException) -> bytes:
        if isinstance(failure, execution.ArgumentError):
            text = f"an argument could not be had:\n{load_error(failure.error)}"
        else:
            text = format_remote(failure)
        return dump_system_error(
            ActorDiedError(
                f"The actor {self.spec.class_name} died because its constructor failed:\n{text}",
                self.spec.actor.hex(),
                actor_init_failed=True,
            )
        )

    def _make_pools(self) -> None:
        for name, limit in {"": self.spec.max_concurrency, **self.spec.groups}.items():
            pool = concurrent.futures.ThreadPoolExecutor(limit, f"rayhpc-{name or 'calls'}")
            self._pools[name] = pool

    # -- calls -----------------------------------------------------------------------------------
    def _run_in_thread(self, caller: Address, call: tasks.Call) -> None:
        outcome: execution.Outcome | None = None
        try:
            # A thread cannot be interrupted: the call asks, or runs to its end for nothing.
            if not self.is_cancelled(call.tid):
                outcome = self._run(caller, call)
            if self.is_cancelled(call.tid):
                outcome = cancelled(call)
        finally:
            self.end_call(caller, call.tid, outcome)

    def end_call(
        self, caller: Address, tid: ObjectId, outcome: execution.Outcome | None
    ) -> None:
        """A concurrent call has ended, with something to reply or nothing (any thread).

        Of many that end together the first alone wakes the leader, which then finds the others.
        """
        self._concurrent.pop(tid, None)
        self._ended.append((caller, outcome))
        if len(self._ended) == 1:
            self._worker.handover.nudge()

    def reply_to_ended(self) -> None:
        """Reply to the concurrent calls that have ended (leading thread)."""
        while self._ended:
            caller, outcome = self._ended.popleft()
            self._busy -= 1
            if outcome is not None:
                self._worker.reply(caller, outcome)

    def method(self, call: tasks.Call) -> Callable[..., Any]:
        """What a call runs: the instance's method, or one of the calls every actor has."""
        if call.method == "__ray_ready__":
            return lambda: True
        if call.method == "__ray_call__":
            return lambda function, *args, **kwargs: function(self.instance, *args, **kwargs)
        if call.method == "__ray_terminate__":
            return self._terminate
        method: Callable[..., Any] = getattr(self.instance, call.method)
        return method

    def _terminate(self) -> None:
        self.ending = "it was told to terminate"

    def context_of(self, call: tasks.Call, name: str) -> TaskContext:
        """What a call runs as."""
        return self._context(call.tid, name, call.attempt)

    def _context(self, tid: ObjectId, name: str, attempt: int = 0) -> TaskContext:
        spec = self.spec
        return TaskContext(tid, name, self._grant, attempt, spec.actor, spec.capture_group)

    def name_of(self, call: tasks.Call) -> str:
        """A call's name in logs and errors."""
        if call.more is not None and call.more.name:
            return call.more.name
        return f"{self.spec.class_name}.{call.method}"

    def _run(self, caller: Address, call: tasks.Call) -> execution.Outcome | None:
        worker = self._worker
        name = self.name_of(call)
        failed = True
        start = time.perf_counter()
        token = running.set(self.context_of(call, name))
        worker.running_tid = b"" if self._is_threaded else call.tid
        worker.slot.note_start(call.tid)
        if not self._is_threaded:
            worker.title.run(name)
        try:
            args, kwargs = execution.arguments(worker, call)
            start = time.perf_counter()
            value = self.method(call)(*args, **kwargs)
            if call.returns == tasks.STREAMING:
                outcome = worker.producers.run(caller, call, value, start)
                failed = False
                return outcome
            micros = int((time.perf_counter() - start) * 1e6)
            outcome = execution.succeeded(worker, call, value, micros)
            failed = False
            return outcome
        except Exception as error:
            return self.failure(call, error, name, start)
        except KeyboardInterrupt:
            if worker.was_cancelled(call.tid):
                return cancelled(call)
            worker.leave(f"{name} raised KeyboardInterrupt", code=1)
        except BaseException as error:
            self.leave_by(error, name)
        finally:
            worker.running_tid = b""
            running.reset(token)
            seconds = time.perf_counter() - start
            spec = self.spec
            worker.log.note(call, name, start, seconds, spec.job, spec.actor, failed)
        return None

    def failure(
        self, call: tasks.Call, error: BaseException, name: str, start: float
    ) -> execution.Outcome:
        """The outcome of a call that raised."""
        micros = int((time.perf_counter() - start) * 1e6)
        try:
            shown = repr(self.instance)
        except Exception:
            shown = f"<{self.spec.class_name}>"
        return execution.failed(call, error, name, self._worker.facts.node_ip, shown, micros)

    def leave_by(self, error: BaseException, name: str) -> None:
        """A call has ended the actor: `exit_actor`, or an exception that is not an Exception."""
        if isinstance(error, ActorExit):
            self._worker.leave("exit_actor was called")
        else:
            self._worker.leave(f"{name} raised {type(error).__name__}: {error}", code=1)

    def _reply_cancelled(self, caller: Address, tid: ObjectId) -> None:
        result = tasks.Result(tid, tasks.CANCELLED, [b""])
        self._worker.transport.send(caller, tasks.Done([result]))

    @property
    def worker(self) -> Worker:
        """The process the actor lives in."""
        return self._worker


class AsyncSide:
    """The event loop of an asynchronous actor, in a thread of its own.

    Args:
        host: the actor.
        limit: how many calls without a group run at a time.
        groups: the same for each concurrency group.
    """

    def __init__(self, host: ActorHost, limit: int, groups: dict[str, int]) -> None:
        import asyncio
        import threading

        self._host = host
        self._loop = asyncio.new_event_loop()
        self._limits = {"": asyncio.Semaphore(limit)}
        self._limits.update({name: asyncio.Semaphore(n) for name, n in groups.items()})
        self._running: dict[ObjectId, asyncio.Task[None]] = {}
        threading.Thread(target=self._serve, name="rayhpc-loop", daemon=True).start()

    def _serve(self) -> None:
        import asyncio

        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def start(self, caller: Address, calls: list[tasks.Call]) -> None:
        """Run calls (from any thread)."""
        self._loop.call_soon_threadsafe(self._create, caller, calls)

    def cancel(self, tid: ObjectId) -> None:
        """Cancel a call (from any thread)."""
        self._loop.call_soon_threadsafe(self._cancel, tid)

    def _cancel(self, tid: ObjectId) -> None:
        task = self._running.get(tid)
        if task is not None:
            task.cancel()

    def _create(self, caller: Address, calls: list[tasks.Call]) -> None:
        for call in calls:
            self._running[call.tid] = self._loop.create_task(self._run(caller, call))

    async def _run(self, caller: Address, call: tasks.Call) -> None:
        outcome: execution.Outcome | None = None
        try:
            async with self._limits.get(call.group) or self._limits[""]:
                outcome = await self._call(caller, call)
        except BaseException as error:
            if type(error).__name__ != "CancelledError":
                raise
            outcome = cancelled(call)
        finally:
            self._running.pop(call.tid, None)
            self._host.end_call(caller, call.tid, outcome)

    async def _call(self, caller: Address, call: tasks.Call) -> execution.Outcome | None:
        import asyncio

        host = self._host
        worker = host.worker
        name = host.name_of(call)
        running.set(host.context_of(call, name))
        failed = True
        start = time.perf_counter()
        try:
            if call.deps:
                args, kwargs = await asyncio.to_thread(execution.arguments, worker, call)
            else:
                args, kwargs = execution.arguments(worker, call)
            start = time.perf_counter()
            value = host.method(call)(*args, **kwargs)
            if inspect.isawaitable(value):
                value = await value
            if call.returns == tasks.STREAMING:
                if hasattr(value, "__aiter__"):
                    produced = worker.producers.run_async(caller, call, value, start)
                else:
                    run = worker.producers.run
                    produced = asyncio.to_thread(run, caller, call, value, start)
                outcome = await produced
                failed = False
                return outcome
            micros = int((time.perf_counter() - start) * 1e6)
            outcome = execution.succeeded(worker, call, value, micros)
            failed = False
            return outcome
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return host.failure(call, error, name, start)
        except BaseException as error:
            host.leave_by(error, name)
            return None
        finally:
            seconds = time.perf_counter() - start
            spec = host.spec
            worker.log.note(call, name, start, seconds, spec.job, spec.actor, failed)


def _name(cls: type[Any]) -> None:
    """Let the actor's code find its class, as in Ray."""
    if "__ray_actor_class__" not in vars(cls):
        try:
            cls.__ray_actor_class__ = cls
        except TypeError:  # a class written in C takes no attributes
            pass


def _own_title(instance: Any) -> str:
    """What `__repr__` says in one line, if the user wrote one."""
    if getattr(type(instance), "__repr__", None) is object.__repr__:
        return ""
    try:
        return " ".join(repr(instance).split())[:100]
    except Exception:  # it may want what only later calls bring
        return ""


def cancelled(call: tasks.Call) -> execution.Outcome:
    """The outcome of a call that was cancelled."""
    return execution.Outcome(tasks.Result(call.tid, tasks.CANCELLED, [b""]), [])


