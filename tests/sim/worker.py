"""A simulated worker: what `runtime.worker` and `runtime.actor_host` do, on the world's clock.

Follows the same rules (`docs/explanation/protocol.md`): the started task is noted in the slot,
results are in the journal until they have gone out, a task that waits gives its CPU back and has
what is queued behind it refused, a revoked lease ends after the running task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from rayhpc.runtime import errors, execution, getting, serialization
from rayhpc.runtime.store_client import Box
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import actors, leases, objects, tasks
from rayhpc.wire.messages.common import Grant

from .process import SimProcess
from .programs import PROGRAMS, Get, Sleep

_encode_result = msgspec.msgpack.Encoder().encode


class SimSlot:
    """What the raylet reads after a worker's death."""

    def __init__(self) -> None:
        self.started = b""
        self.unsent: list[bytes] = []


class SimWorker(SimProcess):
    """One simulated worker; `slot` outlives it."""

    is_worker = True

    def __init__(self, *args: Any, slot: SimSlot, ended: Callable[[SimWorker], None]) -> None:
        self.slot = slot
        self.queue: deque[tuple[tasks.Task | tasks.Call, Address, int]] = deque()
        self.grant: Grant | None = None
        self.running_tid: ObjectId = b""
        self.executions: list[tuple[ObjectId, int]] = []
        self._revoked = 0
        self._revoke_after = 0
        self._blocked = False
        self._busy = False
        self._kept: dict[ObjectId, list[Any]] = {}
        self._actor: actors.Construct | None = None
        self._actor_state: dict[str, Any] = {}
        self._ending: str | None = None
        self._ended = ended
        super().__init__(*args)
        with self.turn():
            self.send(self.raylet, leases.WorkerReady(self.me & 0xFFFFFFFF))

    def make_handlers(self) -> dict[type, Callable[[Address, Any], None]]:
        """A process's handlers, and a worker's own."""
        return {
            **super().make_handlers(),
            tasks.Push: self._on_push,
            tasks.Calls: self._on_calls,
            tasks.Recall: self._on_recall,
            tasks.Cancel: self._on_cancel,
            tasks.Adopted: lambda _, m: [self._kept.pop(t, None) for t in m.tids],
            leases.Revoke: self._on_revoke,
            leases.AssignJob: lambda _, m: None,
            leases.ExitIfIdle: self._on_exit_if_idle,
            actors.Construct: self._on_construct,
            actors.EndActor: self._on_end_actor,
        }

    # -- messages ---------------------------------------------------------------------------------
    def _on_push(self, submitter: Address, message: tasks.Push) -> None:
        if message.lease <= self._revoked or self._blocked:
            ended = message.lease <= self._revoked
            tids = [t.tid for t in message.tasks]
            self.send(
                submitter, tasks.Refused(message.lease, tids, blocked=not ended, ended=ended)
            )
            return
        if message.grant is not None:
            self.grant = message.grant
            self.facts = msgspec.structs.replace(self.facts, job=message.grant.job)
        self.queue.extend((task, submitter, message.lease) for task in message.tasks)
        self._go_on()

    def _on_calls(self, caller: Address, message: tasks.Calls) -> None:
        self.queue.extend((call, caller, 0) for call in message.calls)
        self._go_on()

    def _on_recall(self, submitter: Address, message: tasks.Recall) -> None:
        back: list[ObjectId] = []
        while self.queue and len(back) < message.count:
            back.insert(0, self.queue.pop()[0].tid)
        self.send(submitter, tasks.Refused(message.lease, back))

    def _on_cancel(self, source: Address, message: tasks.Cancel) -> None:
        for item in list(self.queue):
            if item[0].tid == message.tid:
                self.queue.remove(item)
                result = tasks.Result(message.tid, tasks.CANCELLED, [b""])
                self.send(source, tasks.Done([result]))

    def _on_revoke(self, _: Address, message: leases.Revoke) -> None:
        self._revoked = max(self._revoked, message.lease)
        self._refuse_queued(ended=True)
        self._revoke_after = message.lease
        if not self._busy:
            self._end_lease()

    def _on_exit_if_idle(self, _: Address, message: leases.ExitIfIdle) -> None:
        if self._busy or self.queue or self.ownership.holds_others() or self._actor is not None:
            self.send(self.raylet, leases.StillNeeded())
        else:
            self.leave()

    def _on_construct(self, _: Address, message: actors.Construct) -> None:
        self._actor = message
        self._actor_state = {"count": 0}
        self.start(self._construct(message))

    def _construct(self, message: actors.Construct) -> Generator[Any, None, None]:
        yield self.sleep(self.world.random.uniform(0.0005, 0.002))
        self.send(self.raylet, actors.Constructed(message.spec.actor, b""))
        self._go_on()

    def _on_end_actor(self, _: Address, message: actors.EndActor) -> None:
        self._ending = message.reason
        self._go_on()

    def on_shutdown(self, source: Address, message: leases.Shutdown) -> None:
        """The node ends."""
        super().on_shutdown(source, message)
        self.leave()

    # -- running ----------------------------------------------------------------------------------
    def _go_on(self) -> None:
        if self._busy or not self.alive:
            return
        if self.queue:
            self._busy = True
            self.start(self._run_one(*self.queue.popleft()))
        elif self._ending is not None:
            self.leave()

    def _run_one(
        self, task: tasks.Task | tasks.Call, submitter: Address, lease: int
    ) -> Generator[Any, None, None]:
        self.slot.started = task.tid
        self.running_tid = task.tid
        self.executions.append((task.tid, task.attempt))
        begin = self.world.time
        try:
            value = yield from self._value_of(task)
            out, refs = yield from self._pack(task.tid, value)
            micros = int((self.world.time - begin) * 1e6)
            inner = [[r.binary() for r in refs]] if refs else []
            result = tasks.Result(task.tid, tasks.OK, [out], micros, inner=inner)
            if refs:
                self._kept[task.tid] = refs
        except Exception as error:
            result = self._failed(task, error)
        yield from self._reply(submitter, result)
        self.running_tid = b""
        self._busy = False
        if self._revoke_after and not self.queue:
            self._end_lease()
        self._go_on()

    def _value_of(self, task: tasks.Task | tasks.Call) -> Generator[Any, None, Any]:
        args = yield from self._arguments(task)
        if isinstance(task, tasks.Call):
            self._actor_state["count"] += 1
            yield self.sleep(0.0001)
            return (self._actor_state["count"], *args)
        running = PROGRAMS[task.definition](self, task.attempt, *args)
        answer = None
        while True:
            try:
                wanted = running.send(answer)
            except StopIteration as stop:
                return stop.value
            if isinstance(wanted, Sleep):
                yield self.sleep(wanted.seconds)
                answer = None
            else:
                assert isinstance(wanted, Get)
                answer = yield from self._blocking_get(wanted.refs)

    def _blocking_get(self, refs: list[Any]) -> Generator[Any, None, list[Any]]:
        """`get` in a task: after a millisecond the CPU goes to others."""
        done: list[Any] = []
        self.start(self._collect(refs, done))
        patience = self.sleep(0.001)
        yield lambda: bool(done) or patience()
        if not done:
            lease = self.grant.lease if self.grant is not None else 0
            self._blocked = True
            self._refuse_queued(blocked=True)
            self.send(self.raylet, leases.Blocked(lease))
            yield lambda: bool(done)
            self._blocked = False
            self.send(self.raylet, leases.Unblocked(lease))
        outcome = done[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return list(outcome)

    def _collect(self, refs: list[Any], done: list[Any]) -> Generator[Any, None, None]:
        try:
            done.append((yield from self.values(refs)))
        except Exception as error:
            done.append(error)

    def _arguments(self, task: tasks.Task | tasks.Call) -> Generator[Any, None, tuple[Any, ...]]:
        far = [d.oid for d in task.deps if d.value is None]
        boxes = [Box() for _ in far]
        if far:
            self.ownership.settle()
            self.store.fetch(far, boxes)
            yield lambda: all(b.value is not None for b in boxes)
        there = {oid: box.value for oid, box in zip(far, boxes, strict=True)}
        values = []
        for dep in task.deps:
            view = there.get(dep.oid)
            if dep.value is not None:
                values.append(serialization.from_inline(dep.value))
            elif not isinstance(view, objects.FetchFailed):
                values.append(getting.read_value(view))
            elif view.kind == objects.VALUE:
                values.append(serialization.from_inline(view.value))
            else:
                raise execution.ArgumentError(getting.lost_error(view))
        packed = serialization.deserialize(task.args)
        if type(packed) is tuple:
            return packed
        args, _, places = packed
        for place, value in zip(places, values, strict=True):
            args[place] = value
        return tuple(args)

    def _pack(self, oid: ObjectId, value: Any) -> Generator[Any, None, tuple[Any, list[Any]]]:
        packed = serialization.serialize(value)
        if packed.nbytes <= getting.INLINE_BYTES:
            return serialization.to_inline(packed), packed.refs
        where = yield from self.store_value(oid, packed)
        return where, packed.refs

    def _failed(self, task: Any, error: Exception) -> tasks.Result:
        if isinstance(error, execution.ArgumentError):
            return tasks.Result(task.tid, tasks.FAILED, [error.error])
        name = getattr(task, "method", "task")
        data = errors.dump_error(error, function_name=name, pid=1, ip="", actor_repr=None)
        return tasks.Result(task.tid, tasks.FAILED, [data])

    def _reply(self, submitter: Address, result: tasks.Result) -> Generator[Any, None, None]:
        """Into the journal, out a little later, as a worker's batches do."""
        self.ownership.settle()
        if self.ownership.claims_pending():
            self.ownership.after_borrows(submitter, tasks.Release([result.tid]))
            result = msgspec.structs.replace(result, held=True)
        encoded = _encode_result(result)
        self.slot.unsent = [*self.slot.unsent[-50:], encoded]
        yield self.sleep(self.world.random.uniform(0, 0.0005))
        self.send(submitter, tasks.Done([result]))

    # -- leases, the end --------------------------------------------------------------------------
    def _refuse_queued(self, blocked: bool = False, ended: bool = False) -> None:
        by_submitter: dict[tuple[Address, int], list[ObjectId]] = {}
        while self.queue:
            task, submitter, lease = self.queue.popleft()
            by_submitter.setdefault((submitter, lease), []).append(task.tid)
        for (submitter, lease), tids in by_submitter.items():
            self.send(submitter, tasks.Refused(lease, tids, blocked=blocked, ended=ended))

    def _end_lease(self) -> None:
        lease, self._revoke_after = self._revoke_after, 0
        self.send(self.raylet, leases.Revoked(lease))

    def leave(self) -> None:
        """Exit in good order."""
        if self.alive:
            self.world.after(0.0, self._gone)

    def _gone(self) -> None:
        if self.alive:
            self._ended(self)
