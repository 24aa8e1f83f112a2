"""How a simulated worker runs user code: arguments, programs, results, waiting, replies.

A part of `worker.SimWorker`, which queues the work.  Does what `runtime.execution`, `actor`
and `generators` do, as routines on the world's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from rayhpc.runtime.values import errors, getting, serialization
from rayhpc.runtime.values.store_client import Box
from rayhpc.runtime.worker import execution
from rayhpc.runtime.worker.call_order import FirstReady
from rayhpc.runtime.worker.generators import Producers
from rayhpc.runtime.worker.outbox import SENT_SURELY_S
from rayhpc.wire.address import Address, ObjectId, sibling
from rayhpc.wire.messages import actors, leases, objects, tasks
from rayhpc.wire.messages.common import Grant

from .process import SimProcess
from .programs import CONSTRUCTORS, METHODS, PROGRAMS, Do, Get, Item, Sleep

_encode_result = msgspec.msgpack.Encoder().encode


class SimSlot:
    """What the raylet reads after a worker's death."""

    def __init__(self) -> None:
        self.started = b""
        self.unsent: list[bytes] = []


class Runner(SimProcess):
    """The part of a worker that runs one thing at a time.

    Args:
        slot: what the raylet reads after its death.
    """

    def __init__(self, *args: Any, slot: SimSlot) -> None:
        self.slot = slot
        self.queue: deque[tuple[tasks.Task | tasks.Call, Address, int]] = deque()
        self.grant: Grant | None = None
        self.state: dict[str, Any] = {}
        self.actor: actors.Construct | None = None
        self._definitions: set[bytes] = set()
        self._cancelled = b""
        self._revoke_after = 0
        self._blocked = False
        self._busy = False
        self._kept: dict[ObjectId, tuple[Address, list[Any]]] = {}
        self._constructed = False
        self._replies: deque[tuple[Address, tasks.Result]] = deque()
        self._sent = 0.0
        self.producers = Producers(self)  # type: ignore[arg-type]
        super().__init__(*args)

    def go_on(self) -> None:
        """Start what comes next, if nothing runs."""
        raise AssertionError("a worker knows what comes next")

    def leave(self) -> None:
        """Exit in good order."""
        raise AssertionError("a worker knows how to leave")

    def _construct(self, spec: actors.ActorSpec) -> Generator[Any, None, None]:
        error = b""
        task = tasks.Task(spec.actor, b"", spec.args, spec.deps)
        try:
            args = yield from self._arguments(task)
            yield from self._drive(CONSTRUCTORS[spec.definition](self, *args))
        except Exception as failure:
            error = self._failed(task, failure).outs[0]  # type: ignore[assignment]
        args = None
        self._constructed = True
        self._busy = False
        self.ownership.settle()
        self.ownership.after_borrows(self.raylet, actors.Constructed(spec.actor, error))
        if error:
            self.leave()
        self.go_on()

    def _run_first(self) -> Generator[Any, None, None]:
        """As `runtime.actor_host`: the first call, or one that makes lost results again."""
        first = FirstReady(self.store, self.queue, lambda item: item[0])
        found = None
        while found is None and self.queue:
            self.ownership.settle()
            found = first.look(everywhere=True)
            if found is None:
                yield first.has_news
        first.close()
        if found is not None:
            yield from self._run_one(*found)
        else:
            self._busy = False
            self.go_on()

    def _run_one(
        self, task: tasks.Task | tasks.Call, submitter: Address, lease: int
    ) -> Generator[Any, None, None]:
        self.slot.started = task.tid
        self.running_tid = task.tid
        self.world.ran.append((self.me, task.tid, task.attempt))
        begin = self.world.time
        try:
            if task.returns == tasks.STREAMING:
                count = yield from self._stream(task, submitter)
                result = tasks.Result(task.tid, tasks.OK, [msgspec.msgpack.encode(count)])
            else:
                value = yield from self._value_of(task)
                result = yield from self._succeeded(task, submitter, value, begin)
        except KeyboardInterrupt:
            result = tasks.Result(task.tid, tasks.CANCELLED, [b""])
        except Exception as error:
            result = self._failed(task, error)
        value = None
        self._reply(submitter, result)
        self.running_tid = b""
        self._busy = False
        if self._revoke_after and not self.queue:
            self._end_lease()
        self.go_on()

    def _keep(self, owner: Address, oid: ObjectId, refs: list[Any]) -> None:
        self._kept[oid] = owner, refs
        if self.actor is not None:
            self.ownership.watch(owner)

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """As a real worker: nobody dispatch what was kept for them."""
        super().on_peers_gone(is_gone)
        for tid in [tid for tid, (owner, _) in self._kept.items() if is_gone(owner)]:
            del self._kept[tid]
        self.producers.on_owners_gone(is_gone)

    def _succeeded(
        self, task: Any, submitter: Address, value: Any, begin: float
    ) -> Generator[Any, None, tasks.Result]:
        outs, inners, kept = [], [], []
        values = [value] if task.returns <= 1 else list(value)
        for i, one in enumerate(values):
            out, refs = yield from self._pack(sibling(task.tid, i), one)
            outs.append(out)
            inners.append([r.binary() for r in refs])
            kept += refs
        if kept:
            self._keep(submitter, task.tid, kept)
        micros = int((self.world.time - begin) * 1e6)
        return tasks.Result(task.tid, tasks.OK, outs, micros, inner=inners if kept else [])

    def _stream(self, task: Any, submitter: Address) -> Generator[Any, None, int]:
        """What `runtime.yielding.Producers.run` does."""
        producers = self.producers
        producers._begin(submitter, task.tid)
        count = 0
        running = self._program_of(task, (yield from self._arguments(task)))
        try:
            while True:
                item = yield from self._drive(running, until=Item)
                if not isinstance(item, Item):
                    break
                oid = sibling(task.tid, count + 1)
                out, refs = yield from self._pack(oid, item.value)
                if refs:
                    self._keep(submitter, oid, refs)
                inner = [r.binary() for r in refs]
                item = refs = None
                self.send(submitter, tasks.StreamItem(task.tid, count, out, inner, task.attempt))
                count += 1
                if producers._must_wait(task, count):
                    yield from self._wait_blocking(
                        lambda n=count: not producers._must_wait(task, n)
                    )
                if producers._taken[task.tid] < 0:
                    break
        finally:
            producers._end(task.tid)
        return count

    def _program_of(self, task: Any, args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
        if isinstance(task, tasks.Call):
            return METHODS[task.method](self, *args)
        assert task.definition in self._definitions, "a function that was never sent here"
        return PROGRAMS[task.definition](self, task.attempt, *args)

    def _value_of(self, task: tasks.Task | tasks.Call) -> Generator[Any, None, Any]:
        running = self._program_of(task, (yield from self._arguments(task)))
        return (yield from self._drive(running))

    def _drive(self, running: Generator[Any, Any, Any], until: type = type(None)) -> Any:
        """Run user code to its end, or to the next `until` that it yields."""
        answer = None
        while True:
            try:
                wanted = running.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = None
            if isinstance(wanted, until):
                return wanted
            if isinstance(wanted, Sleep):
                timer = self.sleep(wanted.seconds)
                yield lambda t=timer: t() or self._is_cancelled()
            elif isinstance(wanted, Do):
                answer = yield from wanted.routine
            else:
                assert isinstance(wanted, Get)
                answer = yield from self._blocking_get(wanted.refs)
            wanted = None
            if self._is_cancelled():
                raise KeyboardInterrupt

    def _is_cancelled(self) -> bool:
        return self._cancelled != b"" and self._cancelled == self.running_tid

    def _blocking_get(self, refs: list[Any]) -> Generator[Any, None, list[Any]]:
        """`get` in a task: after a millisecond the CPU goes to others."""
        done: list[Any] = []
        self.start(self._collect(refs, done))
        yield from self._wait_blocking(lambda: bool(done) or self._is_cancelled())
        outcome = done[0] if done else []
        if isinstance(outcome, BaseException):
            raise outcome
        return list(outcome)

    def _wait_blocking(self, there: Callable[[], bool]) -> Generator[Any, None, None]:
        patience = self.sleep(0.001)
        yield lambda: there() or patience()
        if there():
            return
        lease = self._lease_that_waits()
        if lease is None:
            yield there
            return
        self._blocked = True
        self._send_replies()
        for submitter, tids in self._unstarted().items():
            self.send(submitter, tasks.Refused(lease, tids, blocked=True))
        self.send(self.raylet, leases.Blocked(lease))
        yield there
        self._blocked = False
        self.send(self.raylet, leases.Unblocked(lease))

    def _lease_that_waits(self) -> int | None:
        if self.actor is not None:
            holds = not self._constructed or self.actor.spec.holding.get("CPU")
            return self.actor.lease if holds else None
        return self.grant.lease if self.grant is not None else None

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
            if dep.value is not None and dep.error:
                raise execution.ArgumentError(dep.value)
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

    def _reply(self, submitter: Address, result: tasks.Result) -> None:
        """Into the journal; out a little later, as a worker's batches are."""
        self.ownership.settle()
        held = self.ownership.claims_pending()
        result = msgspec.structs.replace(result, held=held)
        if not self._replies and self.world.time - self._sent > SENT_SURELY_S:
            self.slot.unsent = []
        self.slot.unsent = [*self.slot.unsent, _encode_result(result)]
        self._replies.append((submitter, result))
        if held:
            self._send_replies()
            self.ownership.after_borrows(submitter, tasks.Release([result.tid]))
        else:
            self.world.after(self.world.random.uniform(0, 0.0005), self._send_replies)

    def _send_replies(self) -> None:
        self._sent = self.world.time if self._replies else self._sent
        while self._replies:
            submitter, result = self._replies.popleft()
            self.send(submitter, tasks.Done([result]))

    def _unstarted(self) -> dict[Address, list[ObjectId]]:
        by_submitter: dict[Address, list[ObjectId]] = {}
        if self.actor is not None:
            return by_submitter
        while self.queue:
            task, submitter, _ = self.queue.popleft()
            by_submitter.setdefault(submitter, []).append(task.tid)
        return by_submitter

    def _end_lease(self) -> None:
        lease, self._revoke_after = self._revoke_after, 0
        self._send_replies()
        self.send(self.raylet, leases.Revoked(lease))
